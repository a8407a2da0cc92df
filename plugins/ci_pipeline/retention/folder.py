"""A folder that things are removed from. No symlink below its root is followed: what is outside cannot be reached."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ci_pipeline.errors import RetentionError
from ci_pipeline.retention import tools


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """Something in a folder; a symlink is neither a folder nor followed."""

    name: str
    is_folder: bool
    is_link: bool
    modified: datetime


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder `names` below `root`. The root is where the settings say, so it may be a symlink itself."""

    root: Path
    names: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Its path, for people to read."""
        return self.root.joinpath(*self.names)

    def inside(self, *names: str) -> "Folder":
        """Return a folder in it."""
        return Folder(self.root, (*self.names, *names))

    def entries(self) -> list[Entry]:
        """Return what is in it, by name; nothing, when it does not exist.

        Raises:
            RetentionError: it, or a folder on the way to it, is a symlink or no folder.
        """
        try:
            with self._opened() as descriptor, os.scandir(descriptor) as listing:
                return sorted(entry for entry in map(_entry, listing) if entry)
        except FileNotFoundError:
            return []

    def folders(self) -> list[Entry]:
        """Return the folders in it; raises as `entries`."""
        return [entry for entry in self.entries() if entry.is_folder]

    def target_of(self, name: str) -> str:
        """Return what a symlink in it says."""
        with self._opened() as descriptor:
            return os.readlink(_checked(name), dir_fd=descriptor)

    def size_of(self, name: str) -> int:
        """Return how many bytes on the disk something in it takes; 0 when it does not exist."""
        with self._opened() as descriptor:
            return _size(descriptor, _checked(name))

    def remove(self, name: str) -> int:
        """Remove something in it with all that is in that, and return how many bytes on the disk it took.

        Raises:
            RetentionError: it is not all gone; or as `entries`.
        """
        with self._opened() as descriptor:
            size = _size(descriptor, _checked(name))
            # rm, for it goes down into folders of any depth, through no symlink, and does what it can.
            ran = tools.run("rm", "-rf", "--one-file-system", "--", f"./{name}", folder=_of(descriptor))
        if ran.returncode:
            msg = f"{self.path / name} cannot be removed: {tools.last_words(ran)}"
            raise RetentionError(msg)
        return size

    @contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in self.names:
                outer = descriptor
                descriptor = self._step(outer, _checked(name))
                os.close(outer)
            yield descriptor
        finally:
            os.close(descriptor)

    def _step(self, descriptor: int, name: str) -> int:
        try:
            return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
        except NotADirectoryError as error:
            msg = f"{name} on the way to {self.path} is a symlink or no folder, and none is followed; move it away"
            raise RetentionError(msg) from error


def _checked(name: str) -> str:
    """Return a name that leads nowhere else. Airflow takes `..` as the id of a run."""
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        msg = f"{name!r} is not the name of a file"
        raise RetentionError(msg)
    return name


def _entry(listed: os.DirEntry[str]) -> Entry | None:
    with suppress(FileNotFoundError):  # it has gone since
        modified = datetime.fromtimestamp(listed.stat(follow_symlinks=False).st_mtime, UTC)
        return Entry(listed.name, listed.is_dir(follow_symlinks=False), listed.is_symlink(), modified)
    return None


def _size(descriptor: int, name: str) -> int:
    ran = tools.run("du", "--summarize", "--block-size=1", "--", f"./{name}", folder=_of(descriptor))
    told = ran.stdout.split("\t")[0]
    return int(told) if told.isdecimal() else 0


def _of(descriptor: int) -> str:
    """Return a path to an open folder that stays right whatever is renamed on the way to it."""
    return f"/proc/self/fd/{descriptor}"
