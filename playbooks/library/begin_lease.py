#!/usr/bin/python
"""Begin a lease: its folder for our account alone, `request.json` in it, and a key pair to log in to its hosts with.

A lease that was begun before is gone on with: it keeps its key, and what is asked for now takes the place of what was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_lease import MOST_HOSTS, Lease
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module

ARGUMENTS: Final[dict[str, Any]] = {
    "lease": {"type": "str", "required": True},
    "folder": {"type": "path", "required": True},
    "provider": {"type": "str", "required": True},
    "hosts_count": {"type": "int", "required": True},
    "arch": {"type": "str", "required": True},
    "lent_until": {"type": "float", "required": True},
}


def begin(params: dict[str, Any]) -> Part:
    """Begin it; see the module's docstring."""
    if not 1 <= params["hosts_count"] <= MOST_HOSTS:
        raise InfrastructureError(f"a lease is of 1 to {MOST_HOSTS} hosts, not {params['hosts_count']}")
    asked = {name: params[name] for name in ("provider", "hosts_count", "arch")} | {"until": params["lent_until"]}
    Lease(Path(params["folder"]), params["lease"]).begin(asked)
    return {}


if __name__ == "__main__":
    run_module(ARGUMENTS, begin)
