"""A watch over the process listings: what everyone on the machine could read of a process while it ran."""

import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.canaries import Canaries

_PATIENCE = 30


@dataclass(frozen=True)
class Seen:
    """A canary that was seen.

    Attributes:
        where: `cmdline` or `environ`.
        names: whose.
        command: the command line, its words parted by blanks.
    """

    where: str
    names: frozenset[str]
    command: str


class Watch:
    """Looks at all processes of the machine, again and again, until it is closed."""

    def __init__(self, canaries: Canaries, *, every: float) -> None:
        """Look `every` so many seconds; a process that lives shorter than that may be missed."""
        self._canaries, self._every = canaries, every
        self._closing = threading.Event()
        self._looked = threading.Condition()
        self._seen: set[Seen] = set()
        self._pids: set[int] = set()
        self._commands: set[str] = set()
        self._known: set[tuple[str, bytes]] = set()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop."""
        self._closing.set()
        self._thread.join()

    def seen(self) -> set[Seen]:
        """Return what was seen so far."""
        with self._looked:
            return set(self._seen)

    def commands(self) -> set[str]:
        """Return the command lines that were looked at so far."""
        with self._looked:
            return set(self._commands)

    def wait_for(self, pid: int) -> bool:
        """Wait until a process was looked at."""
        with self._looked:
            return self._looked.wait_for(lambda: pid in self._pids, timeout=_PATIENCE)

    def _watch(self) -> None:
        while not self._closing.is_set():
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    self._look_at(process)
            self._closing.wait(self._every)

    def _look_at(self, process: Path) -> None:
        try:
            command = (process / "cmdline").read_bytes()
            if (process.name, command) in self._known:  # an environment stays as it was when the program began
                return
            environment = (process / "environ").read_bytes()
            # A child is its parent until it becomes a program of its own: both must be of the same one.
            if not command or command != (process / "cmdline").read_bytes():
                return
        except OSError:  # it has ended, or is another account's
            return
        self._known.add((process.name, command))
        words = command.replace(b"\0", b" ").decode(errors="replace").strip()
        found = {"cmdline": self._canaries.in_bytes(command), "environ": self._canaries.in_bytes(environment)}
        with self._looked:
            self._pids.add(int(process.name))
            self._commands.add(words)
            self._seen.update(Seen(where, frozenset(names), words) for where, names in found.items() if names)
            self._looked.notify_all()
