"""The key of a build: one digest of everything that gets into what it makes.

It is made of what our own code reads: the files git wrote, the commit, the software of this builder, and the digest of
the request that the pipeline sends. Nothing that package code says or makes is part of it: none has run by then.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_lookaside import read_list
from ansible.module_utils.ci_sandbox import ETC
from ansible.module_utils.ci_stage import PackageError
from ansible.module_utils.ci_tools import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# What has one of these is that file, and no other.
_STRONG: Final = ("sha256", "sha384", "sha512")
_DPKG: Final = Path("/var/lib/dpkg/status")
_RPMS: Final = ("rpm", "--query", "--all", "--queryformat", "%{NEVRA} %{SHA256HEADER}\n")
# What is there is nobody's package.
_BY_HAND: Final = Path("/usr/local")
_ID_OF_AN_RPM: Final = re.compile(r"\S+ [0-9a-f]{64}")


def digest_of(inputs: Mapping[str, Any]) -> str:
    """Return the key of inputs: SHA-256 in hex. Their order is nothing, every one of them counts."""
    told = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(told.encode("ascii")).hexdigest()


def source(folder: Path) -> str:
    """Return the digest of a source tree as git wrote it: names, contents, what is executable, what is a symlink.

    "" where that proves nothing: the tree is wrong, or `sources` names a file by a checksum that can be forged.
    """
    try:
        if any(listed.kind not in _STRONG for listed in read_list(folder / "sources")):
            return ""
    except PackageError:
        return ""
    return _digest_of_lines(_described(folder, path) for path in _below(folder))


def software(
    *, dpkg: Path = _DPKG, by_hand: Path = _BY_HAND, configuration: Path = Path("/etc"), release: str = ""
) -> str:
    """Return the digest of what a build can see of this builder: packages, what is beside them, settings, the kernel.

    The package manager's own record stands for the files of its packages. "" where there is no such record, or some of
    it is not for us to read.

    Args:
        dpkg: Debian's record; without it rpm is asked.
        by_hand: a folder of files that are in no package, told apart by size and time.
        configuration: the folder of which the sandbox shows a part.
        release: that of the kernel; default: of the one that runs.
    """
    try:
        packages = _packages(dpkg)
        lines = [f"{packages} {release or platform.release()} {platform.machine()} {os.geteuid() == 0}".encode()]
        lines += [_measured(by_hand, path) for path in _below(by_hand)]
        for name in ETC:
            lines += [_described(configuration, path) for path in _below(configuration / name)]
    except OSError:
        return ""
    return _digest_of_lines(lines) if packages else ""


def _packages(dpkg: Path) -> str:
    if dpkg.is_file():
        return sha256(dpkg)
    try:
        ran = subprocess.run(_RPMS, capture_output=True, check=False, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return ""
    # Keys that packages are checked with are among them, and have no headers.
    installed = sorted(line for line in ran.stdout.splitlines() if not line.startswith("gpg-pubkey-"))
    known = ran.returncode == 0 and installed and all(map(_ID_OF_AN_RPM.fullmatch, installed))
    return _digest_of_lines(line.encode() for line in installed) if known else ""


def _below(root: Path) -> Iterator[Path]:
    """Yield what is in a folder and in its folders, or the file or symlink itself, in an order that is always the same.

    Raises OSError when a folder cannot be looked into.
    """
    if root.is_symlink() or root.is_file():
        yield root
        return
    for folder, folders, files in os.walk(root, onerror=_refuse):
        folders.sort()
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in sorted([*files, *linked]))


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _described(root: Path, path: Path) -> bytes:
    """Return name, kind and content of a file."""
    mode, name = path.lstat().st_mode, os.fsencode(path.relative_to(root))
    if stat.S_ISLNK(mode):
        return b"\0".join((name, b"link", os.fsencode(path.readlink())))
    if not stat.S_ISREG(mode):
        return b"\0".join((name, b"other", str(mode).encode()))
    kind = b"program" if mode & stat.S_IXUSR else b"file"
    return b"\0".join((name, kind, sha256(path).encode()))


def _measured(root: Path, path: Path) -> bytes:
    """Return name, kind, size and time of a file, for folders of which there is too much to read."""
    status, name = path.lstat(), os.fsencode(path.relative_to(root))
    target = os.fsencode(path.readlink()) if stat.S_ISLNK(status.st_mode) else b""
    facts = f"{status.st_mode} {status.st_size} {status.st_mtime_ns}".encode()
    return b"\0".join((name, facts, target))


def _digest_of_lines(lines: Iterable[bytes]) -> str:
    """Return one digest of many lines; each is hashed by itself, so that no two can be taken for other two."""
    whole = hashlib.sha256()
    for line in lines:
        whole.update(hashlib.sha256(line).digest())
    return whole.hexdigest()
