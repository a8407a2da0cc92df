#!/usr/bin/python
"""Boot the host from its disk and test it: the pipeline's own checks first, then the package's tests tagged `atomic`.

The machine ends with this module, whatever happens. A host that does not come up within `boot_seconds` is a failure of
the package; a machine that cannot be started is one of the builder.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_host_checks import Ssh
from ansible.module_utils.ci_host_tests import ARGUMENTS as TESTING
from ansible.module_utils.ci_host_tests import artifacts_of, examine
from ansible.module_utils.ci_stage import Part, StageError, run_module
from ansible.module_utils.ci_tools import Clock
from ansible.module_utils.ci_vm import ACCELERATORS, SSH_PORT, Vm, drive, speaks_ssh

ARGUMENTS: Final[dict[str, Any]] = TESTING | {
    "disk": {"type": "path", "required": True},
    "kernel": {"type": "path", "required": True},
    "initrd": {"type": "path", "required": True},
    "arguments": {"type": "str", "required": True},
    "key": {"type": "path", "required": True},
    "accelerator": {"type": "str", "choices": list(ACCELERATORS), "default": "tcg"},
}


def test(params: dict[str, Any]) -> Part:
    """Boot and test; see the module's docstring. Returns the outputs booted_rev, total and failed."""
    workspace, limits = Path(params["workspace"]), params["limits"]
    boot = ["-kernel", params["kernel"], "-initrd", params["initrd"], "-append", params["arguments"]]
    vm = Vm(
        workspace,
        [*boot, *drive(Path(params["disk"]), "raw")],
        int(limits["memory_mb"]),
        accelerator=params["accelerator"],
        forward=(SSH_PORT,),
    )
    try:
        with vm.running():
            seconds = vm.wait(lambda: speaks_ssh(vm.ports[SSH_PORT]), float(limits["boot_seconds"]))
            part = examine(Ssh(vm.ports[SSH_PORT], Path(params["key"])), params)
    except StageError as error:
        error.part |= {"artifacts": artifacts_of(workspace), "tool_seconds": Clock.spent()}
        raise
    finally:
        for name in ("disk", "kernel", "initrd", "key"):
            Path(params[name]).unlink(missing_ok=True)
        shutil.rmtree(workspace / "vm", ignore_errors=True)
    return part | {
        "boot_seconds": round(seconds, 3),
        "artifacts": artifacts_of(workspace),
        "tool_seconds": Clock.spent(),
    }


if __name__ == "__main__":
    run_module(ARGUMENTS, test)
