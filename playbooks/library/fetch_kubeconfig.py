#!/usr/bin/python
"""Fetch the kubeconfig an installer left on the control plane, for use from the builder: <cluster_dir>/kubeconfig.

`port` is where the builder reaches the API server, on 127.0.0.1. The file is for our account alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils import ci_ssh
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module
from ansible.module_utils.ci_tools import Clock

if TYPE_CHECKING:
    from pathlib import Path

ARGUMENTS: Final[dict[str, Any]] = ci_ssh.ARGUMENTS | {
    "path": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
}
# A list may begin with this key: `- server: ...`.
_SERVER: Final = re.compile(r"^([ -]*server: *)\S+ *$", re.MULTILINE)


def fetch(params: dict[str, Any]) -> Part:
    """Fetch it; see the module's docstring."""
    host, path = ci_ssh.Host.given(params), params["path"]
    said = host.read(f"reading the kubeconfig {path}", ["cat", path])
    text, servers = _SERVER.subn(rf"\g<1>https://127.0.0.1:{params['port']}", said)
    if not servers:
        raise InfrastructureError(f"{path} of {host.name} is no kubeconfig: it names no server")
    _write(host.cluster_dir / "kubeconfig", text)
    return {"tool_seconds": Clock.spent()}


def _write(target: Path, text: str) -> None:
    scratch = target.with_suffix(".new")
    scratch.touch(mode=0o600)
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(target)


if __name__ == "__main__":
    run_module(ARGUMENTS, fetch)
