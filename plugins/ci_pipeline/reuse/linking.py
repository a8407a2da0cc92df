"""Linking a kept file to another place, if it is what it was."""

import hashlib
import io
import os
import re
import shutil
import stat
from pathlib import Path
from typing import Final

from ci_pipeline.errors import NotKept

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+~^-]{0,250}")


def plain(name: str) -> str:
    """Return the name of a file.

    Raises:
        NotKept: no stage of ours would have called a file so.
    """
    if not _NAME.fullmatch(name):
        raise NotKept(f"{name[:100]!r} is no plain name of a file")
    return name


def link(path: Path, target: Path, sha256: str) -> None:
    """Link a file, or copy it to another file system; what is checked is what is there then.

    Raises:
        NotKept: it is not there, no regular file, or another one than it was.
    """
    try:
        try:
            os.link(path, target, follow_symlinks=False)
        except OSError:
            with _opened(path) as theirs, target.open("xb") as ours:
                shutil.copyfileobj(theirs, ours)
            target.chmod(0o644)
        with _opened(target) as file:
            is_plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            found = hashlib.file_digest(file, "sha256").hexdigest() if is_plain else ""
    except OSError as error:
        raise NotKept(f"{path} cannot be reused: {error.strerror}") from error
    if found != sha256:
        raise NotKept(f"{path} is not what it was: its sha256 differs")


def _opened(path: Path) -> io.FileIO:
    """Open a file: no symlink is followed, no pipe waited for."""
    return io.FileIO(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
