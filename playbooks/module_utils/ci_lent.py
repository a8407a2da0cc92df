"""Hosts that a provider has lent, as hosts of a cluster: on the commit of the image, and reached by SSH alone."""

from __future__ import annotations

import ipaddress
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_background import Background
from ansible.module_utils.ci_host_checks import CheckError, Ssh
from ansible.module_utils.ci_rebase import Rebase
from ansible.module_utils.ci_sandbox import last_line, tail
from ansible.module_utils.ci_stage import InfrastructureError, PackageError, clean
from ansible.module_utils.ci_vm import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

# Below the cluster's folder: what keeps the API server's port open. Whatever ends the cluster ends it, too.
TUNNEL_NAME: Final = "api"
_AGAIN: Final = 'while :; do "$@"; sleep 1; done'
_KEEPING: Final = ("-N", "-T", "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=15")
_ADDRESS_WORD: Final = 2
_OPEN_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1


def ssh_to(host: Mapping[str, Any], known_hosts: Path) -> Ssh:
    """Return how a host of `hosts.json` is reached; its key has to stay what it was when it was first reached."""
    return Ssh(int(host["port"]), Path(host["key"]), host["address"], host["user"], known_hosts)


class LentHost:
    """A host of a cluster: `host` is what `hosts.json` has of it."""

    def __init__(self, host: Mapping[str, Any], known_hosts: Path) -> None:
        """Take the host, and the file that has the keys of the cluster's hosts."""
        self.ssh = ssh_to(host, known_hosts)
        self._host, self._name = host, str(host["name"])

    def put_on(self, rev: str, url: str, limits: Mapping[str, Any]) -> float:
        """Have it run a commit, of the repository at `url`; return the seconds its boot took.

        Without a `url` it has booted the commit already. Raises InfrastructureError: others have booted it before.
        """
        rebase, began = Rebase(self.ssh, self._name, rev), time.monotonic()
        if not url:
            rebase.wait_for_ssh(float(limits["boot_seconds"]))
            rebase.require()
            return time.monotonic() - began
        try:
            return rebase.carry_out(url, limits)
        except PackageError as error:
            raise InfrastructureError(str(error)) from error

    def described(self) -> dict[str, Any]:
        """Return what the installers are told of it; no API server of it is reached yet."""
        told = {name: self._host[name] for name in ("name", "address", "port", "user", "key")}
        return told | {"api_port": 0, "inside": self._inside()}

    def open_port(self, port: int, folder: Path) -> int:
        """Have a port of 127.0.0.1 lead to a port of the host, from now on; return it.

        Through SSH, which alone has to let us in. What keeps it open lives on, and begins again when it breaks off.
        """
        here = free_port()
        tunnel = Background(folder, "ssh.log")
        tunnel.start(["/bin/sh", "-c", _AGAIN, "sh", *self._forwarding(here, port)], {})
        end = time.monotonic() + _OPEN_SECONDS
        while not _is_open(here):
            if time.monotonic() > end:
                tunnel.stop()
                said = last_line(tail(tunnel.log)) if tunnel.log.exists() else ""
                raise InfrastructureError(f"{self._name} forwards no port: {said or 'ssh said nothing'}")
            time.sleep(_LOOK_SECONDS)
        return here

    def _forwarding(self, here: int, port: int) -> list[str]:
        return self.ssh.reaching(*_KEEPING, "-L", f"127.0.0.1:{here}:127.0.0.1:{port}")

    def _inside(self) -> str:
        """Return the address it has itself: what we reach it at may be translated on the way."""
        try:
            words = self.ssh.run('echo "$SSH_CONNECTION"', as_root=False).split()
            return str(ipaddress.ip_address(words[_ADDRESS_WORD].removeprefix("::ffff:")))
        except (CheckError, IndexError, ValueError) as error:
            raise InfrastructureError(f"{self._name} does not say which address it has: {clean(error, 100)}") from error


def _is_open(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
