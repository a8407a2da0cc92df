"""A control group for each sandbox: the memory and the processes of all that runs in it, counted and limited together.

It is made below the group of whoever runs the sandbox, so that what limits the pipeline also limits its sandboxes. Both
versions of the kernel's interface are known: 2, and 1, where memory and processes are hierarchies of their own. Neither
may be ours to use; then there is no group.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from ansible.module_utils.ci_process import start_ticks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

_PREFIX: Final = "ci-pipeline"
_GONE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.01
# bubblewrap itself: outside of the sandbox, and the first process inside.
_OF_BWRAP: Final = 2
# Moves itself into groups, then becomes the program.
_JOIN: Final = 'until [ "$1" = -- ]; do echo 0 > "$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"'
_EVENT_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
# The kernel charges memory in steps.
_NEAR: Final = 1 << 20
_numbers = itertools.count(1)


class Cgroup(ABC):
    """A group, there during `made`: a folder below each of `parents`.

    Attributes:
        version: of the kernel's interface.
        over_memory: a process was killed because the group had used up its memory; known behind `made`, like the next.
        killed: a process was killed for want of memory, the group's or the builder's.
        over_processes: the group was refused a process.
    """

    version: ClassVar[str]

    def __init__(self, parents: Sequence[Path]) -> None:
        """Choose a name: it tells who made the group, of which namespace of processes."""
        namespace = Path("/proc/self/ns/pid").stat().st_ino
        self._family = f"{_PREFIX}-{namespace}-"
        self._parents = parents
        name = f"{self._family}{os.getpid()}-{start_ticks(os.getpid())}-{next(_numbers)}"
        self.folders = [parent / name for parent in parents]
        self.over_memory = self.killed = self.over_processes = False
        self._after = contextlib.ExitStack()

    @classmethod
    @abstractmethod
    def find(cls) -> Self | None:
        """Return a group that can be made, None when this version of the interface is not ours to use."""

    @contextlib.contextmanager
    def made(self, memory_mb: int, processes: int) -> Iterator[None]:
        """Make the group for the block; what is in it at the end is killed. Raises OSError."""
        for folder in self._leftovers():
            _remove(folder)
        with self._after:
            for folder in self.folders:
                folder.mkdir(exist_ok=True)  # version 1 may have both in one hierarchy
                self._after.callback(_remove, folder)
            self._limit(memory_mb << 20, processes + _OF_BWRAP)
            try:
                yield
            finally:
                self._count()

    def joined_by(self, command: Sequence[str]) -> list[str]:
        """Return a command that runs this one in the group; it becomes it, with its process id."""
        return ["/bin/sh", "-c", _JOIN, "sh", *map(str, self.folders), "--", *command]

    @abstractmethod
    def _limit(self, memory: int, processes: int) -> None:
        """Set the limits, memory in bytes."""

    @abstractmethod
    def _count(self) -> None:
        """Read what the kernel has counted."""

    def _leftovers(self) -> list[Path]:
        """Return the groups of makers that are gone, of our own namespace of processes."""
        found = [path for parent in self._parents for path in parent.glob(f"{self._family}*")]
        return [path for path in found if _is_left(path.name.removeprefix(self._family))]


class Unified(Cgroup):
    """A group of version 2: one folder."""

    version = "2"

    @classmethod
    def find(cls) -> Self | None:
        """Look for the nearest group whose subgroups can be limited: not ours, as long as processes are in it."""
        mount = _mount("cgroup2")
        own = _own_folder(mount, "") if mount else None
        if not mount or not own:
            return None
        near = [folder for folder in (own, *own.parents) if folder.is_relative_to(mount[0])]
        return next((cls([folder]) for folder in near if _can_limit(folder)), None)

    def _limit(self, memory: int, processes: int) -> None:
        _write(self.folders[0] / "memory.max", memory)
        with contextlib.suppress(FileNotFoundError):  # a kernel without swap
            _write(self.folders[0] / "memory.swap.max", 0)
        _write(self.folders[0] / "pids.max", processes)

    def _count(self) -> None:
        events = _counters(self.folders[0] / "memory.events")
        self.killed = events.get("oom_kill", 0) > 0
        self.over_memory = self.killed and events.get("oom", 0) > 0
        self.over_processes = _counters(self.folders[0] / "pids.events").get("max", 0) > 0


class Separate(Cgroup):
    """A group of version 1: a folder for memory, one for processes."""

    version = "1"
    _event = -1

    @classmethod
    def find(cls) -> Self | None:
        """Our own group of either hierarchy may have subgroups."""
        mounts = {name: _mount("cgroup", name) for name in ("memory", "pids")}
        own = [_own_folder(mount, name) for name, mount in mounts.items() if mount]
        usable = [folder for folder in own if folder and os.access(folder, os.W_OK)]
        return cls(usable) if len(usable) == len(mounts) else None

    def _limit(self, memory: int, processes: int) -> None:
        _write(self.folders[0] / "memory.limit_in_bytes", memory)
        with contextlib.suppress(FileNotFoundError):  # a kernel that does not count swap
            _write(self.folders[0] / "memory.memsw.limit_in_bytes", memory)
        _write(self.folders[1] / "pids.max", processes)
        # The counter of kills has the builder's, too. A limit that is why is told by an event: ours, or one above.
        self._event = ctypes.CDLL(None).eventfd(0, _EVENT_FLAGS)
        self._after.callback(os.close, self._event)
        with (self.folders[0] / "memory.oom_control").open("rb") as control:
            _write(self.folders[0] / "cgroup.event_control", f"{self._event} {control.fileno()}")

    def _count(self) -> None:
        self.killed = _counters(self.folders[0] / "memory.oom_control").get("oom_kill", 0) > 0
        most, limit = (_number(self.folders[0] / f"memory.{name}_in_bytes") for name in ("max_usage", "limit"))
        with contextlib.suppress(BlockingIOError):
            self.over_memory = self.killed and most > limit - _NEAR and bool(os.read(self._event, 8))
        self.over_processes = _counters(self.folders[1] / "pids.events").get("max", 0) > 0


def find() -> Cgroup | None:
    """Return a group that can be made on this builder, None when there can be none."""
    return Unified.find() or Separate.find()


def _mount(kind: str, controller: str = "") -> tuple[Path, str] | None:
    """Return where a hierarchy is mounted, and which of its groups is there."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        found, _, options = after.split(" ")
        if found == kind and (not controller or controller in options.split(",")):
            root, mountpoint = before.split(" ")[3:5]
            return Path(mountpoint), root
    return None


def _own_folder(mount: tuple[Path, str], controller: str) -> Path | None:
    """Return the folder of the group we are in; None when it is not below what is mounted."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, names, group = line.split(":", 2)
        if controller in names.split(","):
            inside = os.path.relpath(group, mount[1])
            return None if inside.startswith("..") else mount[0] / inside
    return None


def _can_limit(folder: Path) -> bool:
    """Tell whether we may make subgroups of a group of version 2 and limit their memory and processes."""
    if not all(os.access(path, os.W_OK) for path in (folder, folder / "cgroup.procs")):
        return False
    if not {"memory", "pids"} <= set((folder / "cgroup.controllers").read_text(encoding="ascii").split()):
        return False
    try:
        _write(folder / "cgroup.subtree_control", "+memory +pids")
    except OSError:  # there are processes in it
        return False
    return True


def _is_left(maker: str) -> bool:
    pid, started, _ = maker.split("-")
    return start_ticks(int(pid)) != int(started)


def _remove(folder: Path) -> None:
    """Kill what is in a group and remove it. What the kernel does not let go of in time is left to the next sandbox."""
    until = time.monotonic() + _GONE_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError):  # another sandbox may be removing it, too
            # 0 is one of another namespace of processes.
            for pid in filter(None, map(int, (folder / "cgroup.procs").read_text(encoding="ascii").split())):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(_POLL_SECONDS)
        else:
            return


def _counters(path: Path) -> dict[str, int]:
    rows = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    return {row[0]: int(row[1]) for row in rows}


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _write(path: Path, value: object) -> None:
    path.write_text(f"{value}\n", encoding="ascii")
