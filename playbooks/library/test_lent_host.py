#!/usr/bin/python
"""Put a host that a provider has lent on the compose, and test it as one that was booted from a disk of the compose.

The host pulls exactly `compose_rev` from `ostree_url`, boots it, and has to run it. That it cannot pull is a fault of
the infrastructure; that it does not come back, or comes back on another commit, is one of the package. Without an
`ostree_url` it boots a disk of the compose at this moment; that it does not come up is one of the package, too.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_host_tests import ARGUMENTS as TESTING
from ansible.module_utils.ci_host_tests import examine, left_by
from ansible.module_utils.ci_lent import ssh_to
from ansible.module_utils.ci_rebase import Rebase
from ansible.module_utils.ci_stage import InfrastructureError, PackageError, Part, StageError, run_module
from ansible.module_utils.ci_tools import Clock

ARGUMENTS: Final[dict[str, Any]] = TESTING | {
    "host": {"type": "dict", "required": True},
    "ostree_url": {"type": "str", "default": ""},
}


def test(params: dict[str, Any]) -> Part:
    """Rebase and test; see the module's docstring. Returns the outputs booted_rev, total and failed."""
    workspace, host = Path(params["workspace"]), params["host"]
    ssh = ssh_to(host, Path(host["key"]).with_name("known_hosts"))
    rebase = Rebase(ssh, host["name"], params["compose_rev"])
    try:
        with Clock.running():
            limits, url = params["limits"], params["ostree_url"]
            seconds = rebase.carry_out(url, limits) if url else _booted(rebase, float(limits["boot_seconds"]))
            part = examine(ssh, params)
    except StageError as error:
        error.part |= left_by(workspace)
        raise
    finally:
        shutil.rmtree(workspace / "vm", ignore_errors=True)
    return part | {"boot_seconds": round(seconds, 3)} | left_by(workspace)


def _booted(rebase: Rebase, boot_seconds: float) -> float:
    began = time.monotonic()
    try:
        rebase.wait_for_ssh(boot_seconds)
    except InfrastructureError as error:
        raise PackageError(f"the composed host did not come up: {error}") from error
    return time.monotonic() - began


if __name__ == "__main__":
    run_module(ARGUMENTS, test)
