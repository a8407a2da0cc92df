"""One SSH connection to a builder, that all of a stage goes through: Ansible's tasks, the files, a few commands.

When it ends, sshd ends on the builder what the connection was for, and what runs there notices. It is a child of this
process, and ends with it even if this process is killed.
"""

import shlex
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final, Self

from ci_pipeline.builders.environment import passed_on
from ci_pipeline.builders.inventory import Builder
from ci_pipeline.errors import BuilderError, BuilderUnreachable
from ci_pipeline.executors.report import clean

# What the operator's own settings of ssh cannot weaken: ssh takes the first that it is told.
_ALWAYS: Final = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ForwardAgent": "no",
    "ControlMaster": "no",
}
_OPEN_SECONDS: Final = 60
# ssh's own exit status for an error of its own.
_SSH_FAILED: Final = 255
_LONGEST_SENTENCE: Final = 300
# What a command on a builder may print.
_LARGEST: Final = 64 << 20


class Connection:
    """The connection, open for a `with` block."""

    def __init__(self, builder: Builder, *, key: str = "") -> None:
        """Take the builder, and the file of a private key if it is not the inventory's."""
        self.builder = builder
        self._key = key or builder.key or ""
        self._master: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            BuilderUnreachable: it does not answer, or not as the host we know, or refuses us.
        """
        # A short path: that of a socket may have 108 characters.
        self._folder = tempfile.TemporaryDirectory(prefix="ci-builder-")
        try:
            self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        if self._master is not None:
            self._master.terminate()
            try:
                self._master.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._master.kill()
                self._master.wait()
        self._folder.cleanup()

    @property
    def options(self) -> list[str]:
        """Arguments of ssh for whoever goes through this connection."""
        settings = {**_ALWAYS, "ControlPath": self._socket}
        return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]

    @property
    def shell(self) -> list[str]:
        """The command that runs another on the builder, up to the name of the builder: what rsync wants."""
        return ["ssh", *self.options, *_place_of(self.builder, self._key)]

    def run(self, command: Sequence[str], *, seconds: float, stdin: bytes = b"") -> bytes:
        """Run a command on the builder and return what it prints.

        Raises:
            BuilderUnreachable: the connection is lost, or the command does not end in time.
            BuilderError: the command failed.
        """
        words = [*self.shell, self.builder.name, shlex.join(command)]
        return self.through(words, what=command[0], seconds=seconds, stdin=stdin)

    def through(
        self, words: Sequence[str], *, what: str, seconds: float, stdin: bytes = b"", largest: int = _LARGEST
    ) -> bytes:
        """Run a command here that goes through this connection, and return what it prints.

        Args:
            words: the command.
            what: its name, for errors.
            seconds: how long it may take.
            stdin: what it reads.
            largest: how many bytes it may print, and any file it writes may have; it is killed where it goes on.

        Raises:
            BuilderUnreachable: the connection is lost, or the command does not end in time.
            BuilderError: the command failed.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                done = subprocess.run(  # noqa: S603 - a list of words
                    ["prlimit", f"--fsize={largest}", *words],  # noqa: S607 - as the account has it
                    input=stdin, stdout=out, stderr=err, check=False, timeout=seconds, env=passed_on(),
                )  # fmt: skip
            except subprocess.TimeoutExpired as error:
                raise lost(self.builder.name, f"{what} did not end in {seconds:.0f} s") from error
            printed, said = (_whole(file) for file in (out, err))
        if done.returncode == 0:
            return printed
        if done.returncode == _SSH_FAILED or not self.is_open():
            raise lost(self.builder.name, _last_words(said))
        raise BuilderError(f"builder {self.builder.name}: {what} failed: {_last_words(said)}")

    def is_open(self) -> bool:
        """Tell whether the connection stands, as far as is known here."""
        return self._master is not None and self._master.poll() is None

    @property
    def _socket(self) -> str:
        return f"{self._folder.name}/s"

    @property
    def _log(self) -> Path:
        return Path(self._folder.name, "log")

    def _open(self) -> None:
        words = ["ssh", "-N", "-o", "ControlMaster=yes", *self.options, *_place_of(self.builder, self._key)]
        with self._log.open("wb") as log:
            # Should this process be killed, the connection must not outlive it.
            self._master = subprocess.Popen(  # noqa: S603 - a list of words
                ["setpriv", "--pdeathsig", "TERM", *words, self.builder.name],  # noqa: S607 - as the account has it
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                env=passed_on(),
            )
        end = time.monotonic() + _OPEN_SECONDS
        while self.is_open() and not Path(self._socket).exists() and time.monotonic() < end:
            time.sleep(0.02)
        if not self.is_open() or not Path(self._socket).exists():
            raise unreachable(self.builder.name, _last_words(self._log.read_bytes()))


def unreachable(builder: str, said: str) -> BuilderUnreachable:
    """Return the error of a builder that could not be reached, with what ssh says."""
    return BuilderUnreachable(f"builder {builder} cannot be reached: {clean(said)[:_LONGEST_SENTENCE]}")


def lost(builder: str, said: str) -> BuilderUnreachable:
    """Return the error of a builder that was lost while it worked, with what ssh says."""
    return BuilderUnreachable(f"builder {builder} was lost during the stage: {clean(said)[:_LONGEST_SENTENCE]}")


def _place_of(builder: Builder, key: str) -> list[str]:
    """Return arguments of ssh that say where a builder is, as Ansible makes them of its variables."""
    settings = {"HostName": builder.host, "Port": builder.port, "User": builder.user, "IdentityFile": key}
    words = [word for name, value in settings.items() if value for word in ("-o", f"{name}={value}")]
    return [*words, *shlex.split(builder.ssh_arguments)]


def _whole(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _last_words(said: bytes) -> str:
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return "; ".join(lines[-2:]) or "it said nothing"
