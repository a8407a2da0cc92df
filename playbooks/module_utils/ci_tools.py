"""Run the tools of the host stages (ostree, mke2fs, QEMU's) and add up the time spent in them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_sandbox import last_line, require
from ansible.module_utils.ci_stage import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}


class Clock:
    """Wall time in seconds that a module spent in tools; the rest of its time is our own overhead."""

    seconds = 0.0

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[None]:
        """Count the time of the block."""
        started = time.monotonic()
        try:
            yield
        finally:
            cls.seconds += time.monotonic() - started

    @classmethod
    def spent(cls) -> float:
        """Return the seconds so far, as `tool_seconds` wants them."""
        return round(cls.seconds, 3)


def sha256(path: Path) -> str:
    """Return the checksum of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    """Run a tool and return how it ended, with its output as text.

    Raises InfrastructureError when it cannot run or hangs.
    """
    program = require(str(command[0]))
    try:
        with Clock.running():
            return subprocess.run(
                [program, *command[1:]],
                cwd=cwd,
                env=_ENVIRONMENT | dict(environment or {}),
                timeout=timeout,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(f"{command[0]} did not end within {timeout:.0f} seconds") from error


def output(
    command: Sequence[str | Path], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Run a tool that has to succeed and return its standard output. Raises InfrastructureError with its last words."""
    ran = run(command, cwd=cwd, environment=environment)
    if ran.returncode != 0:
        words = " ".join(str(word) for word in command[:3])
        raise InfrastructureError(f"{words} failed: {how_it_ended(ran)}")
    return ran.stdout


def how_it_ended(ran: subprocess.CompletedProcess[str]) -> str:
    """Return the last words of a tool that failed, or the signal that ended it."""
    if ran.returncode < 0:
        return f"signal {-ran.returncode} ended it; is the builder out of memory?"
    return last_line(ran.stderr or ran.stdout)


def as_root(command: Sequence[str | Path]) -> list[str | Path]:
    """Return the command, in a user namespace where the caller looks like root when it is not root."""
    return list(command) if os.geteuid() == 0 else ["unshare", "--map-root-user", *command]


@contextlib.contextmanager
def locked(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold a lock on a file for the block, an exclusive one unless told otherwise. The file stays.

    Another process that wants it waits; with LOCK_NB this one does not, and raises BlockingIOError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="ascii") as file:
        fcntl.flock(file, how)
        yield


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree nobody writes into: as hard links, where both are on the same file system."""
    if run(["cp", "--archive", "--link", source, target]).returncode != 0:
        shutil.rmtree(target, ignore_errors=True)
        output(["cp", "--archive", source, target])


def switch_link(link: Path, target: str) -> None:
    """Make `link` a symlink to `target` in one step, whether it existed or not."""
    scratch = link.with_name(f".{link.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(target)
    scratch.replace(link)
