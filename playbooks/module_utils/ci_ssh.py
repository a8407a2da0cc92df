"""Commands on the hosts of a cluster, over SSH: hosts a minute old, with a shell and perhaps nothing else."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_sandbox import last_line, require
from ansible.module_utils.ci_stage import InfrastructureError, clean
from ansible.module_utils.ci_tools import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence

# What every module that works on a host is given.
ARGUMENTS: Final[dict[str, Any]] = {
    "host": {"type": "dict", "required": True},
    "cluster_dir": {"type": "path", "required": True},
    "log": {"type": "path", "required": True},
    "seconds": {"type": "float", "required": True},
}
KEY_NAME: Final = "key"
KNOWN_HOSTS_NAME: Final = "known_hosts"
_OPTIONS: Final = (
    *("-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"),
    # Nobody knows the key of a host that has just made it; from then on it has to stay the same.
    *("-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=20"),
    # A host that is gone without a word is noticed after a minute.
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"),
)
_LOST: Final = 255


@dataclass(frozen=True)
class Host:
    """A host of the cluster, and the log in which everything lies that was said on it.

    `seconds` is what one command may take. The known hosts are in `cluster_dir`, and so is the key, unless a host has
    its own.
    """

    name: str
    address: str
    port: int
    user: str
    key: Path
    cluster_dir: Path
    log: Path
    seconds: float

    @classmethod
    def given(cls, params: dict[str, Any]) -> Host:
        """Return the host that a module with `ARGUMENTS` is to work on."""
        host, folder, log = params["host"], Path(params["cluster_dir"]), Path(params["log"])
        user, port = host.get("user") or "root", int(host["port"])
        key = Path(host.get("key") or folder / KEY_NAME)
        return cls(host["name"], host["address"], port, user, key, folder, log, params["seconds"])

    def run(self, what: str, command: Sequence[str], given: bytes | Path = b"") -> None:
        """Run a command, its words as they are, with `given` (or what is in that file) as its input.

        What it says is added to the log. Raises InfrastructureError, which begins with `what`, when it fails or hangs.
        """
        with self._opened(what) as log:
            self._run(what, command, given, log, log)

    def read(self, what: str, command: Sequence[str]) -> str:
        """Run a command as `run` does and return its standard output, which stays out of the log."""
        with self._opened(what) as log:
            return self._run(what, command, b"", log, subprocess.PIPE)

    def _opened(self, what: str) -> IO[bytes]:
        log = self.log.open("ab")
        log.write(f"== {clean(what)} on {self.name}\n".encode())
        log.flush()
        return log

    def _run(self, what: str, command: Sequence[str], given: bytes | Path, log: IO[bytes], out: IO[bytes] | int) -> str:
        began = log.tell()
        try:
            code, said = self._finish(command, given, log, out)
        except subprocess.TimeoutExpired as error:
            last = self._last(began)
            message = f"{what} on {self.name} did not end within {self.seconds:.0f} seconds; its last line: {last}"
            raise InfrastructureError(message) from error
        if code != 0:
            raise self._failed(what, code, self._last(began))
        return said

    def _finish(
        self, command: Sequence[str], given: bytes | Path, log: IO[bytes], out: IO[bytes] | int
    ) -> tuple[int, str]:
        with contextlib.ExitStack() as opened, Clock.running():
            source = opened.enter_context(given.open("rb")) if isinstance(given, Path) else subprocess.PIPE
            process = subprocess.Popen(self._ssh(command), stdin=source, stdout=out, stderr=log)
            opened.callback(process.wait)
            opened.callback(process.kill)
            said, _ = process.communicate(given if isinstance(given, bytes) else None, timeout=self.seconds)
        return process.returncode, (said or b"").decode("utf-8", "replace")

    def _failed(self, what: str, code: int, last: str) -> InfrastructureError:
        if code == _LOST:
            return InfrastructureError(f"{self.name} ({self.address}:{self.port}) cannot be reached for {what}: {last}")
        return InfrastructureError(f"{what} on {self.name} failed: {last}")

    def _last(self, began: int) -> str:
        with self.log.open("rb") as log:
            log.seek(began)
            return last_line(log.read().decode("utf-8", "replace"))

    def _ssh(self, command: Sequence[str]) -> list[str]:
        places = ["-i", str(self.key)]
        places += ["-o", f'UserKnownHostsFile="{self.cluster_dir / KNOWN_HOSTS_NAME}"', "-p", str(self.port)]
        words = command if self.user == "root" else ["sudo", "-n", *command]
        return [require("ssh"), *_OPTIONS, *places, "-l", self.user, "--", self.address, shlex.join(words)]
