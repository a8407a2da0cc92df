#!/usr/bin/python
"""Boot a host of the compose and test it: the pipeline's own checks first, then the package's tests tagged `atomic`.

It boots a throwaway disk with exactly `compose_rev` deployed. The machine ends with this module, whatever happens. A
host that does not come up within `boot_seconds` is a failure of the package; a machine that cannot be started is one of
the builder.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_host_checks import Ssh
from ansible.module_utils.ci_host_disk import HostDisk
from ansible.module_utils.ci_host_tests import ARGUMENTS as TESTING
from ansible.module_utils.ci_host_tests import examine, left_by
from ansible.module_utils.ci_ostree import Repository
from ansible.module_utils.ci_stage import Part, StageError, run_module
from ansible.module_utils.ci_vm import ACCELERATORS, CONSOLES, SSH_PORT, Vm, speaks_ssh

ARGUMENTS: Final[dict[str, Any]] = TESTING | {
    "ref": {"type": "str", "required": True},
    "kernel_arguments": {"type": "list", "elements": "str", "default": []},
    "accelerator": {"type": "str", "choices": list(ACCELERATORS), "default": "tcg"},
    "arch": {"type": "str", "choices": list(CONSOLES), "default": "x86_64"},
}


def test(params: dict[str, Any]) -> Part:
    """Boot and test; see the module's docstring. Returns the outputs booted_rev, total and failed."""
    workspace = Path(params["workspace"])
    try:
        disk = HostDisk.write(Repository(Path(params["ostree_repo"])), params, workspace)
        part = _test(disk, params, workspace)
    except StageError as error:
        error.part |= left_by(workspace)
        raise
    finally:
        HostDisk(workspace).remove()
        shutil.rmtree(workspace / "vm", ignore_errors=True)
    return part | left_by(workspace)


def _test(disk: HostDisk, params: dict[str, Any], workspace: Path) -> Part:
    limits = params["limits"]
    vm = Vm(
        workspace,
        disk.boot,
        int(limits["memory_mb"]),
        accelerator=params["accelerator"],
        forward=(SSH_PORT,),
        arch=params["arch"],
    )
    with vm.running():
        seconds = vm.wait(lambda: speaks_ssh(vm.ports[SSH_PORT]), float(limits["boot_seconds"]))
        return examine(Ssh(vm.ports[SSH_PORT], disk.key), params) | {"boot_seconds": round(seconds, 3)}


if __name__ == "__main__":
    run_module(ARGUMENTS, test)
