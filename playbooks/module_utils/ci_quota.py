"""The disk a sandbox may use in all: what its folders hold is counted while it runs, and too much ends it.

Counted are the blocks of every file, once however many names it has, and of files that were removed and are still held
open. A file counts as four kilobytes at least: there is a bound on files this way, too. What a file system is short of
tells when to look; between two looks a package can write as much as the disk takes in that time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

# Of the wall time, what looking may take.
_SHARE: Final = 0.1
_LONGEST_PAUSE: Final = 10.0
_PAUSE: Final = 1.0
_GLANCE: Final = 0.25
_LEAST: Final = 4096
_BLOCK: Final = 512
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TooDeepError(Exception):
    """Folders are nested so deep that what they hold has no path, and cannot be counted."""


class Quota:
    """Counts what folders and files hold, and what the processes below one hold open that has no name any more.

    Attributes:
        exceeded: it was more than the quota.
        too_deep: it cannot be counted, because folders are nested deeper than a path may be long.
    """

    def __init__(self, folders: Iterable[Path], files: Iterable[Path], megabytes: float) -> None:
        """Take what is counted: whole folders, and single files."""
        self._folders, self._files = tuple(folders), tuple(files)
        self._bytes = int(megabytes * (1 << 20))
        self._over = threading.Event()
        self.exceeded = self.too_deep = False

    @contextlib.contextmanager
    def watching(self, process: int, end: Callable[[], None]) -> Iterator[None]:
        """Count during the block, and once more behind it; call `end` as soon as it is too much."""
        watcher = threading.Thread(target=self._watch, args=(process, end), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._over.set()
            watcher.join()
            self._look(process)

    def _watch(self, process: int, end: Callable[[], None]) -> None:
        while not self._over.is_set():
            began, free = time.monotonic(), self._free()
            used = self._look(process)
            if self.exceeded or self.too_deep:
                end()
                return
            took = time.monotonic() - began
            self._rest(min(max(_PAUSE, took / _SHARE), _LONGEST_PAUSE), free, (self._bytes - used) // 2)

    def _rest(self, seconds: float, free: Sequence[int], room: int) -> None:
        """Wait until the next look, which is due at once when so much has gone that it could be too much soon."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._over.wait(_GLANCE):
            if any(before - now > room for before, now in zip(free, self._free(), strict=True)):
                return

    def _free(self) -> list[int]:
        """Return what is free where files can be written: bytes, and files as bytes."""
        found = []
        for folder in self._folders:
            status = os.statvfs(folder)
            found += [status.f_bfree * status.f_frsize, status.f_ffree * _LEAST]
        return found

    def _look(self, process: int) -> int:
        """Return the bytes there are. `exceeded` and `too_deep` stay once they are true."""
        total, linked = 0, set()
        try:
            for status in self._everything(process):
                name = (status.st_dev, status.st_ino)
                total += 0 if name in linked else max(status.st_blocks * _BLOCK, _LEAST)
                if status.st_nlink != 1:
                    linked.add(name)
                if total > self._bytes:
                    break
        except TooDeepError:
            self.too_deep = True
        self.exceeded = self.exceeded or total > self._bytes
        return total

    def _everything(self, process: int) -> Iterator[os.stat_result]:
        for path in self._files:
            with contextlib.suppress(FileNotFoundError):
                yield path.stat()
        for folder in self._folders:
            yield from _below(folder)
        disks = {folder.stat().st_dev for folder in self._folders}
        for status in _nameless(process):
            if status.st_dev in disks:
                yield status


def _below(top: Path) -> Iterator[os.stat_result]:
    """Yield what a folder holds, without following symlinks. It may change all the while.

    Raises TooDeepError.
    """
    folders = [str(top)]
    while folders:
        path = folders.pop()
        try:
            handle = os.open(path, _OPEN)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise TooDeepError from error
            continue
        try:
            for name, status in _entries(handle):
                yield status
                if stat.S_ISDIR(status.st_mode):
                    folders.append(f"{path}/{name}")
        finally:
            os.close(handle)


def _nameless(process: int) -> Iterator[os.stat_result]:
    """Yield the files without a name that the descendants of a process hold: open, or (root sees it) mapped."""
    for pid in descendants(process):
        for kind in ("fd", "map_files"):
            with contextlib.suppress(OSError):
                for _, status in _entries(f"/proc/{pid}/{kind}", follow=True):
                    if status.st_nlink == 0 and stat.S_ISREG(status.st_mode):
                        yield status


def _entries(folder: int | str, *, follow: bool = False) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                yield entry.name, entry.stat(follow_symlinks=follow)


def descendants(process: int) -> Iterator[int]:
    """Yield the processes below a process. One that has lost its parent is below the first of its namespace."""
    waiting = [process]
    while waiting:
        for path in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = [int(pid) for pid in path.read_text(encoding="ascii").split()]
                waiting += children
                yield from children
