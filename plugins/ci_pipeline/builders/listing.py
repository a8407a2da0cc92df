"""What a builder says there is in a folder of it: read as the hostile input it is, before anything is taken."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from ci_pipeline.builders.connection import Connection
from ci_pipeline.errors import BuilderError

MOST_FILES: Final = 5000
_LONGEST_NAME: Final = 1000
_FIND: Final = 'cd "$1" && find . -xdev -type f -printf "%s %P\\0" | head -c 8388608'
_DIGEST: Final = 'cd "$1" && xargs -0 -r sha256sum -z --'
_DIGEST_LINE: Final = re.compile(r"\\?([0-9a-f]{64}) [ *]\./(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of a folder of the builder: `name` is its path there, `size` in bytes."""

    name: str
    size: int
    sha256: str


def of_folder(connection: Connection, folder: str, *, largest: int, seconds: float) -> list[Listed]:
    """Return the regular files below a folder of the builder, with the checksums they have there.

    Args:
        connection: to the builder.
        folder: absolute path there.
        largest: how many bytes a file may have.
        seconds: how long the builder may take.

    Raises:
        BuilderError: there is no such folder, or what is in it has names, sizes or a number that cannot be taken.
        BuilderUnreachable: the builder was lost.
    """
    found = connection.run(["sh", "-c", _FIND, "find", folder], seconds=seconds)
    sizes = _sizes(connection.builder.name, found, largest)
    told = "".join(f"./{name}\0" for name in sizes).encode()
    digests = connection.run(["sh", "-c", _DIGEST, "sha256sum", folder], seconds=seconds, stdin=told)
    sums = dict(_digests(digests))
    if sums.keys() != sizes.keys():
        odd = min(sizes.keys() ^ sums.keys())
        raise BuilderError(f"builder {connection.builder.name} gave no checksum of {odd[:200]!r}")
    return [Listed(name, size, sums[name]) for name, size in sizes.items()]


def checked(builder: str, listed: Sequence[Listed], *, largest: int) -> Sequence[Listed]:
    """Return a listing if all of it may be taken.

    Raises:
        BuilderError: a name leads elsewhere or cannot be shown, a file is too large, or there are too many.
    """
    if len(listed) > MOST_FILES:
        raise BuilderError(f"builder {builder} has more than {MOST_FILES} files for us; that is none of our stages")
    for one in listed:
        if not is_safe(one.name):
            raise BuilderError(f"builder {builder} names a file {one.name[:200]!r}, which is not taken from it")
        if not 0 <= one.size <= largest:
            msg = f"builder {builder} has {one.name[:200]!r} of {one.size} bytes; at most {largest} are taken"
            raise BuilderError(f"{msg} (limits.disk_mb)")
    return listed


def is_safe(name: str) -> bool:
    """Tell whether a name is that of something below a folder, and fit to be shown."""
    parts = PurePosixPath(name).parts
    plain = name.isprintable() and len(name) <= _LONGEST_NAME and name == str(PurePosixPath(name))
    return plain and bool(parts) and not name.startswith("/") and not {"..", "."} & set(parts)


def _sizes(builder: str, found: bytes, largest: int) -> dict[str, int]:
    listed = []
    for entry in _entries(found):
        size, _, name = entry.partition(" ")
        listed.append(Listed(name, int(size) if size.isdecimal() else -1, ""))
    return {one.name: one.size for one in checked(builder, listed, largest=largest)}


def _digests(told: bytes) -> Iterable[tuple[str, str]]:
    for entry in _entries(told):
        line = _DIGEST_LINE.fullmatch(entry)
        if line:
            yield line[2], line[1]


def _entries(text: bytes) -> list[str]:
    """Return what ends with a NUL each: what is cut off at the end, or is no UTF-8, makes a name that is refused."""
    return [entry.decode("utf-8", "replace").replace("\ufffd", "\0") for entry in text.split(b"\0") if entry]
