#!/usr/bin/python
"""Put a host that a provider has lent on the compose, and test it as one that was booted from a disk of the compose.

The host pulls exactly `compose_rev` from `ostree_url`, boots it, and has to run it. That it cannot pull is a fault of
the infrastructure; that it does not come back, or comes back on another commit, is one of the package.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_host_checks import Ssh
from ansible.module_utils.ci_host_tests import ARGUMENTS as TESTING
from ansible.module_utils.ci_host_tests import artifacts_of, examine
from ansible.module_utils.ci_rebase import Rebase
from ansible.module_utils.ci_stage import Part, StageError, run_module
from ansible.module_utils.ci_tools import Clock

ARGUMENTS: Final[dict[str, Any]] = TESTING | {
    "host": {"type": "dict", "required": True},
    "ostree_url": {"type": "str", "required": True},
}


def test(params: dict[str, Any]) -> Part:
    """Rebase and test; see the module's docstring. Returns the outputs booted_rev, total and failed."""
    workspace, limits, host = Path(params["workspace"]), params["limits"], params["host"]
    key = Path(host["key"])
    ssh = Ssh(int(host["port"]), key, host["address"], host["user"], key.with_name("known_hosts"))
    try:
        with Clock.running():
            rebase = Rebase(ssh, host["name"], params["compose_rev"])
            rebase.wait_for_ssh(float(limits["boot_seconds"]))
            rebase.deploy(params["ostree_url"], float(limits["seconds"]))
            seconds = rebase.reboot(float(limits["boot_seconds"]))
            part = examine(ssh, params)
    except StageError as error:
        error.part |= {"artifacts": artifacts_of(workspace), "tool_seconds": Clock.spent()}
        raise
    finally:
        shutil.rmtree(workspace / "vm", ignore_errors=True)
    part |= {"boot_seconds": round(seconds, 3), "artifacts": artifacts_of(workspace), "tool_seconds": Clock.spent()}
    return part


if __name__ == "__main__":
    run_module(ARGUMENTS, test)
