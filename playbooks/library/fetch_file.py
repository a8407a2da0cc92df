#!/usr/bin/python
"""Get a file an installer needs: `source` is a path, or a URL that is fetched to the cache once, by its sha256.

The sha256 is checked every time; a path alone may come without one. Returns `path`.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_stage import InfrastructureError, Part, clean, run_module
from ansible.module_utils.ci_tools import Clock, locked

ARGUMENTS: Final[dict[str, Any]] = {
    "what": {"type": "str", "required": True},
    "source": {"type": "str", "required": True},
    "sha256": {"type": "str", "default": ""},
    "sha256_needed": {"type": "bool", "default": True},
    "cache": {"type": "path", "required": True},
    "seconds": {"type": "float", "required": True},
}
_URL: Final = re.compile(r"https?://")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CHUNK: Final = 1 << 20
_STALL_SECONDS: Final = 60


def get(params: dict[str, Any]) -> Part:
    """Get it; see the module's docstring. Raises InfrastructureError, with both digests when they differ."""
    what, source, digest = params["what"], params["source"], params["sha256"].lower()
    remote = bool(_URL.match(source))
    if (digest or remote or params["sha256_needed"]) and not _SHA256.fullmatch(digest):
        raise InfrastructureError(f"{what} needs a sha256 of 64 hex digits in pipeline.toml, not {digest!r}")
    if remote:
        path = _fetched(params, digest)
    elif not (path := Path(source)).is_file():
        raise InfrastructureError(f"{what} is not there: {source} does not exist on this builder")
    if digest:
        _check(what, source, path, digest)
    return {"path": str(path), "tool_seconds": Clock.spent()}


def _fetched(params: dict[str, Any], digest: str) -> Path:
    """Return the URL's file in the cache, fetched unless it is there."""
    target = Path(params["cache"]) / "downloads" / digest
    with locked(target.with_suffix(".lock")):
        if not target.is_file():
            scratch = target.with_suffix(".new")
            with Clock.running():
                _download(params, scratch)
            _check(params["what"], params["source"], scratch, digest)
            scratch.replace(target)
    return target


def _download(params: dict[str, Any], target: Path) -> None:
    end, url = time.monotonic() + params["seconds"], params["source"]
    try:
        with _open(url, params["seconds"]) as remote, target.open("wb") as local:
            # One read of the socket at a time, so that a server that drips is noticed.
            while chunk := remote.read1(_CHUNK):
                local.write(chunk)
                if time.monotonic() > end:
                    raise TimeoutError(f"no end after {params['seconds']:.0f} seconds")
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        target.unlink(missing_ok=True)
        raise InfrastructureError(f"{params['what']} cannot be fetched from {url}: {clean(error, 200)}") from error


def _open(url: str, seconds: float) -> http.client.HTTPResponse:
    return urllib.request.urlopen(url, timeout=min(seconds, _STALL_SECONDS))  # type: ignore[no-any-return] # noqa: S310


def _check(what: str, source: str, path: Path, digest: str) -> None:
    """Compare the digests. Whatever has the wrong one does not stay in the cache."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found == digest:
        return
    if str(path) != source:
        path.unlink()
    raise InfrastructureError(f"{what} from {source} has sha256 {found} instead of {digest}")


if __name__ == "__main__":
    run_module(ARGUMENTS, get)
