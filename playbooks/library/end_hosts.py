#!/usr/bin/python
"""End the virtual machines of a lease that run on this machine. Gone already, or never there, is no failure.

Returns the output `returned`, the number of machines that ran.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_cluster import Cluster
from ansible.module_utils.ci_lease import MACHINES_NAME, Lease
from ansible.module_utils.ci_stage import Part, run_module

ARGUMENTS: Final[dict[str, Any]] = {
    "lease": {"type": "str", "required": True},
    "folder": {"type": "path", "required": True},
}


def end(params: dict[str, Any]) -> Part:
    """End them; see the module's docstring."""
    cluster = Cluster(Lease(Path(params["folder"]), params["lease"]).folder / MACHINES_NAME)
    ended = cluster.end()
    cluster.remove()
    return {"outputs": {"returned": ended}}


if __name__ == "__main__":
    run_module(ARGUMENTS, end)
