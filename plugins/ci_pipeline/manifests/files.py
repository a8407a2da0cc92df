"""What lies beside an image: read without following symlinks, written whole or not at all."""

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from ci_pipeline.errors import ManifestError
from ci_pipeline.executors.report import open_regular_file

# A manifest has some hundred bytes for each package, file and stage.
LARGEST: Final = 16 * 1024 * 1024


def digest_of(path: Path) -> str:
    """Return the sha256 of a regular file, in hex.

    Raises:
        OSError: it cannot be read; FileNotFoundError when it is not there, or no regular file.
    """
    with open_regular_file(path) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileNotFoundError(path)
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def content_of(path: Path) -> bytes:
    """Return what is in a small file.

    Raises:
        ManifestError: it is larger than any of ours.
        OSError: it cannot be read.
    """
    with open_regular_file(path) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ManifestError(f"{path.name} is too large to be one of this pipeline's")
    return content


def write(path: Path, content: bytes) -> None:
    """Put a file where everybody may read it, whole or not at all, and on the disk when this returns.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    _sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file, if it is there, for good."""
    with suppress(FileNotFoundError):
        path.unlink()
        _sync(path.parent)


def _sync(folder: Path) -> None:
    """Let a name that came or went survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
