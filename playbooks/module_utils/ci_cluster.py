"""What there is of a cluster on the builder: its folder, and the processes that outlive the playbook that started them.

`hosts.json` in the folder lists the hosts, with `pid` and `started` (see ci_process) besides what the outputs tell of
them. `NAME/pid` has the same two numbers of a program that runs by itself (ci_background), a suite or a server.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_process import end, end_group, is_running, start_ticks
from ansible.module_utils.ci_tools import output

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


Host = dict[str, Any]

# Below the folder: programs of the cluster's own release.
PROGRAMS: Final = "bin"
_PRIVATE: Final = 0o600


class Cluster:
    """A cluster in a folder, which may not exist."""

    def __init__(self, folder: Path, key: Path | None = None) -> None:
        """Take the folder's path, and that of the key to its hosts unless it is one of its own."""
        self.folder = folder
        self.key = key or folder / "key"
        self._listed = folder / "hosts.json"

    def create(self) -> str:
        """Create the folder, for our account alone, and the key to log in with; return its public half."""
        self.folder.mkdir(mode=0o700, parents=True)
        if not self.key.exists():
            output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self.key])
        return self.key.with_suffix(".pub").read_text(encoding="ascii").strip()

    def record(self, hosts: Sequence[Host]) -> None:
        """List these hosts, those of before no longer."""
        scratch = self._listed.with_suffix(".json.new")
        scratch.touch(mode=_PRIVATE)
        scratch.write_text(json.dumps(hosts, indent=2) + "\n", encoding="utf-8")
        scratch.replace(self._listed)

    def running(self) -> list[Host]:
        """Return the hosts whose machines run, or none unless all do."""
        hosts = self._hosts()
        alive = [is_running(one["pid"], one["started"], _console(self.folder / one["name"])) for one in hosts]
        return hosts if all(alive) else []

    def end(self) -> int:
        """End the suite, the servers and the hosts, as far as they run; return how many hosts did."""
        for told in self.folder.glob("*/pid"):
            _end_program(told)
        return sum(end(host["pid"], host["started"], _console(self.folder / host["name"])) for host in self._hosts())

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _hosts(self) -> list[Host]:
        # It appears whole or not at all: one that cannot be read was lost with the machine it told of.
        try:
            hosts: list[Host] = json.loads(self._listed.read_bytes())
        except (FileNotFoundError, ValueError):
            return []
        return hosts


def use_programs_of(folder: Path) -> None:
    """Find the programs that came with a cluster, its own kubectl and tests, before others of the name."""
    os.environ["PATH"] = f"{folder / PROGRAMS}:{os.environ.get('PATH', os.defpath)}"


def process_of(pid: int) -> dict[str, int]:
    """Return what `hosts.json` has of a host's process."""
    return {"pid": pid, "started": start_ticks(pid)}


def _end_program(told: Path) -> None:
    try:
        leader, started = map(int, told.read_text(encoding="ascii").split())
    except (FileNotFoundError, ValueError):
        return
    end_group(leader, started)


def _console(folder: Path) -> str:
    """Return what no other process has in its command line."""
    return os.fspath(folder / "console.log")
