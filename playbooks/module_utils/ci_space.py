"""Room on the file systems a stage works on: whether there is any, and whether a failure came of there being none.

Standard library only: `ci_stage` uses it.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

WHAT_TO_DO: Final = "make room there, for example with `ci-pipeline prune`, then clear the task"
# Less than this is full: what failed wanted more than was left.
_FULL_MB: Final = 2
_FEWEST_FILES: Final = 16
_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT)
_POLL_SECONDS: Final = 0.2
# The C library's words, and those of ostree and rpm, which look before they write.
_SAID: Final = re.compile(
    r"No space left on device|Disk quota exceeded|min-free-space|more space needed|needs \S+ more space", re.IGNORECASE
)


def shortage(folders: Iterable[Path], needed_mb: float) -> str:
    """Return what is short on the first file system with less than `needed_mb` MiB free, `""` when none is.

    A folder that does not exist counts as the one it will be made in.
    """
    return next(filter(None, (_shortage(_existing(folder), needed_mb) for folder in folders)), "")


def _shortage(folder: Path, needed_mb: float) -> str:
    status = os.statvfs(folder)
    free_mb = status.f_bavail * status.f_frsize / (1 << 20)
    if free_mb < needed_mb:
        return f"{folder} has {free_mb:.0f} MB free"
    if status.f_files > 0 and status.f_favail < _FEWEST_FILES:
        return f"{folder} can take no more files (no inodes are free)"
    return ""


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def explains(folders: Iterable[Path], said: str, free_mb: float) -> str:
    """Return what is short where a command failed that said this, `""` when a full disk is not why.

    Words alone prove nothing, package code can print them: with them there must be less than `free_mb` MiB, without
    them next to nothing.
    """
    return shortage(folders, free_mb if says_full(said) else _FULL_MB)


def says_full(said: str) -> bool:
    """Say whether these are the words of a tool that found a disk full."""
    return bool(_SAID.search(said))


def is_full(error: OSError) -> bool:
    """Say whether this error is a full disk, or a quota that is used up."""
    return error.errno in _ERRNOS


class Watch:
    """Watches the file systems of folders during a block: a tool may fail on a full disk and tidy up after itself."""

    def __init__(self, folders: Iterable[Path]) -> None:
        """Take the folders; some may not exist yet."""
        self._folders = tuple(folders)
        self._over = threading.Event()
        self._seen = ""

    def __enter__(self) -> Self:
        """Begin to watch."""
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Look once more, and stop."""
        self._over.set()
        self._look()

    @property
    def seen(self) -> str:
        """What was short, the first time a file system was full; `""`: none was."""
        return self._seen

    def _watch(self) -> None:
        while not self._over.wait(_POLL_SECONDS):
            self._look()

    def _look(self) -> None:
        self._seen = self._seen or shortage(self._folders, _FULL_MB)
