#!/usr/bin/python
"""Write a throwaway disk with exactly `compose_rev` deployed for hosts that a provider boots: a qcow2, by itself.

Who may log in says the seed that the provider gives each host. Returns the output `disk`, its path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_bootable import bootable
from ansible.module_utils.ci_ostree import Repository
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module
from ansible.module_utils.ci_tools import Clock, output

ARGUMENTS: Final[dict[str, Any]] = {
    "ostree_repo": {"type": "path", "required": True},
    "compose_rev": {"type": "str", "required": True},
    "ref": {"type": "str", "required": True},
    "arch": {"type": "str", "required": True},
    "kernel_arguments": {"type": "list", "elements": "str", "default": []},
    "workspace": {"type": "path", "required": True},
}


def write(params: dict[str, Any]) -> Part:
    """Write it; see the module's docstring."""
    if params["arch"] != "x86_64":
        raise InfrastructureError(
            f"there are disks that boot by themselves for x86_64 alone, not for {params['arch']}: set "
            "provision.provider to qemu, or to one whose hosts have a system"
        )
    workspace, repository = Path(params["workspace"]), Repository(Path(params["ostree_repo"]))
    raw = bootable(repository, params["ref"], params["compose_rev"], workspace, params["kernel_arguments"])
    disk = raw.with_suffix(".qcow2")
    output(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk])
    raw.unlink()
    return {"outputs": {"disk": str(disk)}, "tool_seconds": Clock.spent()}


if __name__ == "__main__":
    run_module(ARGUMENTS, write)
