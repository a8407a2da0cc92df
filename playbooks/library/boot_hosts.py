#!/usr/bin/python
"""Boot virtual machines from `disk`, an image that reads its seed, for a lease on this machine, and leave them running.

All come up, with their name and for the lease's key, or none is left. Where all of an earlier try still run, they are
the hosts; what else it left is ended first. Returns `hosts`, as `record_hosts` takes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_cluster import Cluster
from ansible.module_utils.ci_hosts import boot_all
from ansible.module_utils.ci_lease import MACHINES_NAME, Lease
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module
from ansible.module_utils.ci_tools import Clock
from ansible.module_utils.ci_vm import ACCELERATORS, CONSOLES

ARGUMENTS: Final[dict[str, Any]] = {
    "lease": {"type": "str", "required": True},
    "folder": {"type": "path", "required": True},
    "disk": {"type": "path", "required": True},
    "arch": {"type": "str", "choices": list(CONSOLES), "required": True},
    "hosts_wanted": {"type": "int", "required": True},
    "api_port": {"type": "int", "default": 0},
    "internet": {"type": "bool", "default": False},
    "cpus": {"type": "int", "default": 1},
    "accelerator": {"type": "str", "choices": list(ACCELERATORS), "default": "tcg"},
    "uefi": {"type": "bool", "default": False},
    "workspace": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
}


def boot(params: dict[str, Any]) -> Part:
    """Boot them; see the module's docstring."""
    disk, lease = Path(params["disk"]), Lease(Path(params["folder"]), params["lease"])
    if not disk.is_file():
        raise InfrastructureError(f"there is no disk to boot at {disk}")
    cluster = Cluster(lease.folder / MACHINES_NAME, lease.key)
    there = cluster.running()
    if len(there) != params["hosts_wanted"]:
        cluster.end()
        cluster.remove()
        there, _ = boot_all(cluster, disk, params)
    hosts = [{**host, "arch": params["arch"], "id": f"{lease.id}/{host['name']}"} for host in there]
    return {"hosts": hosts, "tool_seconds": Clock.spent()}


if __name__ == "__main__":
    run_module(ARGUMENTS, boot)
