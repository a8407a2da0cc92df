#!/usr/bin/python
"""Keep what a cluster says of itself, and what its hosts said on their consoles, as artifacts. Never fails.

Whoever has to find out why tests failed comes when the cluster is gone.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_cluster import use_programs_of
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module
from ansible.module_utils.ci_tools import run

ARGUMENTS: Final[dict[str, Any]] = {
    "kubeconfig": {"type": "path", "required": True},
    "cluster_dir": {"type": "path", "required": True},
    "workspace": {"type": "path", "required": True},
}
_KINDS: Final = "nodes,deployments,pods,events"
_CALL_SECONDS: Final = 20


def collect(params: dict[str, Any]) -> Part:
    """Collect; see the module's docstring. Returns the artifacts."""
    workspace = Path(params["workspace"])
    use_programs_of(Path(params["cluster_dir"]))
    kept = [_state(Path(params["kubeconfig"]), workspace), *_consoles(Path(params["cluster_dir"]), workspace)]
    return {"artifacts": [{"path": str(path), "kind": "log"} for path in kept if path]}


def _state(kubeconfig: Path, workspace: Path) -> Path | None:
    if not kubeconfig.is_file() or shutil.which("kubectl") is None:
        return None
    command = ["kubectl", f"--kubeconfig={kubeconfig}", f"--cache-dir={workspace / 'kubectl'}"]
    wanted = ["get", _KINDS, "--all-namespaces", "--output=wide", f"--request-timeout={_CALL_SECONDS}s"]
    try:
        ran = run([*command, *wanted], timeout=3 * _CALL_SECONDS)
    except InfrastructureError:
        return None
    path = workspace / "cluster.log"
    path.write_text(ran.stdout + ran.stderr, encoding="utf-8")
    return path


def _consoles(cluster: Path, workspace: Path) -> list[Path]:
    kept = []
    for console in sorted(cluster.glob("host-*/console.log")):
        path = workspace / f"{console.parent.name}.console.log"
        shutil.copyfile(console, path)
        kept.append(path)
    return kept


if __name__ == "__main__":
    run_module(ARGUMENTS, collect)
