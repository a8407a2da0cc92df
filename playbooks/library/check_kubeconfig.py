#!/usr/bin/python
"""Check what an installer has to leave: a kubeconfig in `cluster_dir` that names a cluster, for our account alone."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module

ARGUMENTS: Final[dict[str, Any]] = {
    "cluster_dir": {"type": "path", "required": True},
    "cluster": {"type": "str", "required": True},
}
# Not more YAML than Python has without a library: a list of clusters that is not empty, and a server.
_CLUSTERS: Final = re.compile(r"^clusters:\s*(\n *- |\[ *\{)", re.MULTILINE)
_SERVER: Final = re.compile(r"\bserver: *\S")


def check(params: dict[str, Any]) -> Part:
    """Check it. Raises InfrastructureError that says what is wrong, and never what is in it."""
    path, cluster = Path(params["cluster_dir"]) / "kubeconfig", params["cluster"]
    if not path.is_file():
        raise InfrastructureError(f"{cluster} left no kubeconfig: {path} does not exist")
    if mode := stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise InfrastructureError(f"{path} is open to other accounts of the builder (mode bits {mode:03o})")
    if not _names_a_cluster(path.read_text(encoding="utf-8", errors="replace")):
        raise InfrastructureError(f"what {cluster} left in {path} is no kubeconfig: it names no cluster")
    return {}


def _names_a_cluster(text: str) -> bool:
    if not text.lstrip().startswith("{"):
        return bool(_CLUSTERS.search(text) and _SERVER.search(text))
    try:
        return bool(json.loads(text)["clusters"][0]["cluster"]["server"])
    except (ValueError, LookupError, TypeError):
        return False


if __name__ == "__main__":
    run_module(ARGUMENTS, check)
