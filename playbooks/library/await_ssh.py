#!/usr/bin/python
"""Wait until every host of a lease greets as an SSH server does, at most `seconds` for all of them together."""

from __future__ import annotations

import time
from typing import Any, Final

from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module, some
from ansible.module_utils.ci_vm import speaks_ssh

ARGUMENTS: Final[dict[str, Any]] = {
    "hosts": {"type": "list", "elements": "dict", "required": True},
    "seconds": {"type": "float", "required": True},
}
_POLL_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 5.0


def wait(params: dict[str, Any]) -> Part:
    """Wait for them; see the module's docstring. Raises InfrastructureError that names those that did not answer."""
    started = time.monotonic()
    silent = [(host["address"], int(host["port"])) for host in params["hosts"]]
    while silent := [place for place in silent if not speaks_ssh(place[1], place[0], _CONNECT_SECONDS)]:
        if time.monotonic() - started > params["seconds"]:
            named = some([f"{address} port {port}" for address, port in silent])
            raise InfrastructureError(
                f"no SSH server answered in {params['seconds']:.0f} s at {named}: look whether it boots, and whether "
                "the provider's network lets us in"
            )
        time.sleep(_POLL_SECONDS)
    return {}


if __name__ == "__main__":
    run_module(ARGUMENTS, wait)
