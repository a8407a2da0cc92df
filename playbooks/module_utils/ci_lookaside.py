"""Sources from the look-aside cache: the `sources` file, in both formats dist-git has had, fetched and checked."""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
import urllib.response
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_stage import InfrastructureError, PackageError, clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LIST_LIMIT: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+~^@%=,-]*")
_NEW: Final = re.compile(r"(?P<type>[A-Z0-9]+) \((?P<name>[^()]+)\) = (?P<hash>[0-9a-f]+)")
_OLD: Final = re.compile(r"(?P<hash>[0-9a-f]{32})\s+\*?(?P<name>\S+)")
_HASHES: Final = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}
_CHUNK: Final = 1 << 20
_STALL_SECONDS: Final = 60


@dataclass(frozen=True)
class Source:
    """One line of `sources`: a file name and the hash it must have."""

    name: str
    kind: str
    checksum: str


def read_list(path: Path) -> list[Source]:
    """Read a `sources` file; no file means no sources.

    Old format: `<md5>  <name>`; new: `SHA512 (<name>) = <hex>`. Raises PackageError for anything else.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return []
    if not stat.S_ISREG(status.st_mode) or status.st_size > _LIST_LIMIT:
        raise PackageError(f"{path.name} is not a regular file of at most {_LIST_LIMIT >> 20} MiB")
    lines = (line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    sources = [_parse(line) for line in lines if line and not line.startswith("#")]
    names = [source.name for source in sources]
    if len(names) != len(set(names)):
        raise PackageError(f"{path.name} names a file twice")
    return sources


def _parse(line: str) -> Source:
    match = _NEW.fullmatch(line) or _OLD.fullmatch(line)
    if match is None:
        raise PackageError(f"the sources file has a line in no known format: {clean(line, 120)!r}")
    kind = match.groupdict().get("type", "md5").lower()
    if _HASHES.get(kind) != len(match["hash"]):
        raise PackageError(f"the sources file gives {clean(match['name'], 80)!r} a hash that is not a {kind.upper()}")
    if not _NAME.fullmatch(match["name"]):
        raise PackageError(f"the sources file has an unsafe file name: {clean(match['name'], 80)!r}")
    return Source(match["name"], kind, match["hash"])


@dataclass(frozen=True)
class Lookaside:
    """A look-aside cache: `base` is a folder, or a URL (file, http, https); `seconds` is what one file may take."""

    base: str
    namespace: str
    repo: str
    seconds: float
    size_limit: int

    def fetch(self, source: Source, folder: Path) -> Path:
        """Put one source into `folder` and return its path.

        Raises PackageError when the cache does not have it or has something else under its name, InfrastructureError
        when the cache cannot be reached.
        """
        if not self.base:
            raise InfrastructureError(f"{source.name} is in the look-aside cache, but lookaside_url is not set")
        digest = hashlib.new(source.kind, usedforsecurity=False)
        target = folder / source.name
        with self._open(source) as remote, target.open("xb") as local:
            for chunk in self._chunks(remote, source):
                digest.update(chunk)
                if local.tell() + len(chunk) > self.size_limit:
                    raise PackageError(f"{source.name} is larger than the {self.size_limit >> 20} MiB a build may use")
                local.write(chunk)
        if digest.hexdigest() != source.checksum:
            raise PackageError(
                f"{source.name} from the look-aside cache does not have the {source.kind.upper()} in sources"
            )
        return target

    def _chunks(self, remote: http.client.HTTPResponse | urllib.response.addinfourl, source: Source) -> Iterator[bytes]:
        """Yield what the cache sends. Raises InfrastructureError when it stops short, stalls or takes too long."""
        announced = int(remote.headers.get("Content-Length") or 0)
        began, received = time.monotonic(), 0
        try:
            # One read of the socket at a time, so that a cache that drips is noticed.
            while chunk := remote.read1(_CHUNK):
                received += len(chunk)
                yield chunk
                if time.monotonic() - began > self.seconds:
                    raise TimeoutError(f"no end after {self.seconds:.0f} seconds")
            if received < announced:
                raise ConnectionError(f"{received} of {announced} bytes came")
        except (OSError, http.client.HTTPException) as error:
            raise InfrastructureError(
                f"{source.name} did not come whole from the look-aside cache: {clean(error, 200)}"
            ) from error

    def _url(self, source: Source) -> str:
        base = self.base if "://" in self.base else "file://" + urllib.parse.quote(self.base)
        if urllib.parse.urlsplit(base).scheme not in {"file", "http", "https"}:
            raise InfrastructureError(f"lookaside_url {self.base!r} is neither a folder nor a file, http or https URL")
        parts = (self.namespace, self.repo, source.name, source.kind, source.checksum, source.name)
        return "/".join([base.rstrip("/"), *map(urllib.parse.quote, parts)])

    def _open(self, source: Source) -> http.client.HTTPResponse | urllib.response.addinfourl:
        try:
            return urllib.request.urlopen(self._url(source), timeout=min(self.seconds, _STALL_SECONDS))  # type: ignore[no-any-return] # noqa: S310
        except urllib.error.HTTPError as error:
            if error.code in {404, 410}:
                raise self._absent(source) from error
            raise InfrastructureError(f"the look-aside cache answers {error.code} for {source.name}") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, FileNotFoundError) or "No such file" in str(error.reason):
                raise self._absent(source) from error
            raise InfrastructureError(f"the look-aside cache cannot be reached: {clean(error.reason, 200)}") from error
        except (OSError, http.client.HTTPException) as error:
            raise InfrastructureError(f"the look-aside cache cannot be read: {clean(error, 200)}") from error

    def _absent(self, source: Source) -> PackageError:
        return PackageError(f"{source.name} is listed in sources but not in the look-aside cache; upload it")


def gather(source: Path, target: Path) -> None:
    """Copy the top-level files of a dist-git tree to rpmbuild's SOURCES; symlinks stay symlinks.

    Raises PackageError when a look-aside file already there has the name of one in git.
    """
    for path in sorted(source.iterdir()):
        if path.is_dir() and not path.is_symlink():
            continue
        if (target / path.name).exists() or (target / path.name).is_symlink():
            raise PackageError(f"{clean(path.name, 80)} is both in git and in sources; keep one")
        shutil.copy2(path, target / path.name, follow_symlinks=False)
