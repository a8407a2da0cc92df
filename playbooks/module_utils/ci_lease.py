"""A lease of hosts in a folder: what was asked for (`request.json`), a key pair, and the hosts (`hosts.json`).

The request is there before anything is asked of a provider, so that a lease that was begun is found. What a provider
says of its hosts is held against rules: names, addresses and users end up in command lines.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_stage import InfrastructureError, clean
from ansible.module_utils.ci_tools import output

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUEST_NAME: Final = "request.json"
HOSTS_NAME: Final = "hosts.json"
KEY_NAME: Final = "key"
# Below the folder: what provider qemu has of its machines.
MACHINES_NAME: Final = "machines"
MOST_HOSTS: Final = 100
_ARCHES: Final = ("x86_64", "aarch64")
_PRIVATE: Final = 0o600
_FOLDER: Final = 0o700
_LAST_PORT: Final = 65_535
_ID: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,58}[A-Za-z0-9])?")
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_USER: Final = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
_THEIRS: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,199}")


class Lease:
    """A lease in a folder, which may not exist."""

    def __init__(self, folder: Path, lease: str) -> None:
        """Take the folder and the lease's id. Raises InfrastructureError when it is none."""
        if not _ID.fullmatch(lease):
            raise InfrastructureError(f"{clean(lease, 80)!r} is no id of a lease: up to 60 letters, digits and hyphens")
        self.folder, self.id = folder, lease
        self.key = folder / KEY_NAME

    def begin(self, request: dict[str, Any]) -> None:
        """Write the request down and make the key, for our account alone; one that was begun before keeps its key.

        Raises InfrastructureError when the folder is another lease's.
        """
        self.folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
        self.folder.chmod(_FOLDER)
        begun = self.request()
        if begun is not None and begun.get("lease") != self.id:
            raise InfrastructureError(f"{self.folder} is of the lease {clean(begun.get('lease'), 80)}, not {self.id}")
        _write(self.folder / REQUEST_NAME, request | {"lease": self.id})
        if not self.key.with_suffix(".pub").exists():
            self.key.unlink(missing_ok=True)
            output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.id, "-f", self.key])

    def request(self) -> dict[str, Any] | None:
        """Return what was asked for; None when nothing was."""
        return _read(self.folder / REQUEST_NAME)

    def public_key(self) -> str:
        """Return the public half of the key."""
        return self.key.with_suffix(".pub").read_text(encoding="ascii").strip()

    def record(self, provider: str, hosts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Check and write down the hosts; return what `hosts.json` has.

        Raises InfrastructureError that names the host and what is wrong with it.
        """
        checked = [self._checked(number, host) for number, host in enumerate(hosts, 1)]
        names = [host["name"] for host in checked]
        if len(set(names)) != len(names):
            raise InfrastructureError(f"two hosts have the same name: {', '.join(sorted(names))}")
        content = {"lease": self.id, "provider": provider, "hosts": checked}
        _write(self.folder / HOSTS_NAME, content)
        return content

    def hosts(self) -> list[dict[str, Any]]:
        """Return the hosts that were recorded; none when there is no readable list."""
        listed = (_read(self.folder / HOSTS_NAME) or {}).get("hosts")
        return listed if isinstance(listed, list) else []

    def remove(self) -> bool:
        """Remove the folder with all that is in it; return whether it was there."""
        there = self.folder.exists()
        if there:
            shutil.rmtree(self.folder)
        return there

    def _checked(self, number: int, host: dict[str, Any]) -> dict[str, Any]:
        key = Path(host.get("key") or self.key)
        checks = {
            "name": _is(_NAME, host.get("name")),
            "address": _is_address(host.get("address")),
            "port": _is_port(host.get("port", 22)),
            "user": _is(_USER, host.get("user")),
            "key": key.parent == self.folder and key.is_file(),
            "arch": host.get("arch") in _ARCHES,
            "id": _is(_THEIRS, host.get("id")),
        }
        if wrong := next((field for field, right in checks.items() if not right), ""):
            said = clean(host.get(wrong), 80)
            raise InfrastructureError(f"the provider's host {number} has {said!r} as its {wrong}; look at its settings")
        known = {field: str(host[field]) for field in ("name", "address", "user", "arch", "id")}
        return known | {"port": int(host.get("port", 22)), "key": str(key)}


def _is(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, (str, int)) and pattern.fullmatch(str(value)) is not None


def _is_address(value: object) -> bool:
    with contextlib.suppress(ValueError):
        return "%" not in str(ipaddress.ip_address(str(value)))
    # What looks like an address and is none is no name, either.
    return _is(_NAME, value) and not str(value).rpartition(".")[2].isdigit()


def _is_port(value: object) -> bool:
    return str(value).isascii() and str(value).isdigit() and 1 <= int(str(value)) <= _LAST_PORT


def _write(path: Path, content: dict[str, Any]) -> None:
    scratch = path.with_suffix(".json.new")
    scratch.touch(mode=_PRIVATE)
    scratch.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    scratch.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    # It appears whole or not at all: one that cannot be read was lost with the machine.
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None
