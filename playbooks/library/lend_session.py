#!/usr/bin/python
"""Have Duffy lend hosts of a pool for a lease: a session, in which the lease's key opens every host.

While not enough hosts are free, it asks again until `patience_seconds` are over. A session that was lent for the lease
before is gone on with. Duffy lets the tenant's key in (`identity`, or the account's own); with it the lease's is added.
The session is to end when the lease does. Returns `hosts`, as `record_hosts` takes them.
"""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_duffy import ARGUMENTS as COMMON
from ansible.module_utils.ci_duffy import BusyError, Duffy
from ansible.module_utils.ci_duffy_lease import Sessions
from ansible.module_utils.ci_lease import Lease
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module
from ansible.module_utils.ci_tools import Clock, how_it_ended, run

ARGUMENTS: Final[dict[str, Any]] = COMMON | {
    "hosts_count": {"type": "int", "required": True},
    "arch": {"type": "str", "required": True},
    "lent_until": {"type": "float", "required": True},
    "patience_seconds": {"type": "float", "required": True},
    "identity": {"type": "path"},
}
_LOOK_SECONDS: Final = 15.0
_AUTHORIZE: Final = (
    'umask 077; mkdir -p ~/.ssh; grep -qxF -e "$1" ~/.ssh/authorized_keys || echo "$1" >>~/.ssh/authorized_keys'
)
_SSH: Final = (
    *("ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20"),
    # Nobody knows the key of a host that was just lent; from then on it has to stay the same.
    *("-o", "StrictHostKeyChecking=accept-new"),
)


def lend(params: dict[str, Any]) -> Part:
    """Lend them; see the module's docstring."""
    lease, duffy = Lease(Path(params["folder"]), params["lease"]), Duffy.given(params)
    session = _session(Sessions(duffy, lease, params["pool"]), params)
    duffy.extend(session["id"], params["lent_until"])
    hosts = [_described(session["id"], node, params["arch"]) for node in session["nodes"]]
    # Checked before anything of it is part of a command.
    for host in lease.record("duffy", hosts)["hosts"]:
        _authorize(host, lease, params["identity"])
    return {"hosts": hosts, "tool_seconds": Clock.spent()}


def _session(sessions: Sessions, params: dict[str, Any]) -> dict[str, Any]:
    """Return the lease's session. Raises InfrastructureError when there are no hosts for too long."""
    deadline = time.monotonic() + params["patience_seconds"]
    while True:
        try:
            with sessions.alone():
                return sessions.current(params["hosts_count"]) or sessions.request(params["hosts_count"])
        except BusyError as error:
            left = deadline - time.monotonic()
            if left <= 0:
                waited = f"within {params['patience_seconds']:.0f} s (provision.patience_seconds)"
                raise InfrastructureError(f"pool {params['pool']} had no hosts for us {waited}: {error}") from error
        time.sleep(min(_LOOK_SECONDS, left))


def _described(session: int, node: dict[str, Any], arch: str) -> dict[str, Any]:
    address, number = node.get("ipaddr") or "", node.get("id")
    return {"name": node.get("hostname"), "address": address, "user": "root", "arch": arch, "id": f"{session}/{number}"}


def _authorize(host: dict[str, Any], lease: Lease, identity: str | None) -> None:
    places = ["-o", f'UserKnownHostsFile="{lease.folder / "known_hosts"}"', "-p", str(host["port"])]
    places += ["-i", identity, "-o", "IdentitiesOnly=yes"] if identity else []
    command = shlex.join(["sh", "-c", _AUTHORIZE, "sh", lease.public_key()])
    ran = run(
        [*_SSH, *places, "-l", host["user"], "--", host["address"], command],
        environment={"SSH_AUTH_SOCK": os.environ.get("SSH_AUTH_SOCK", "")},
        timeout=60,
    )
    if ran.returncode != 0:
        what = "provision.duffy.identity has to be the key that Duffy has of the tenant"
        raise InfrastructureError(f"{host['name']} does not let us in: {how_it_ended(ran)}; {what}")


if __name__ == "__main__":
    run_module(ARGUMENTS, lend)
