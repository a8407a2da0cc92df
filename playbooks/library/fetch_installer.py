#!/usr/bin/python
"""Get the playbooks of an installer: a folder as it is, or a clone of a git repository at a pinned tag or branch.

Returns `path`, and `version`: the release that was asked for and, where there is git, the commit that it is.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_sandbox import last_line, require
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module
from ansible.module_utils.ci_tools import Clock

ARGUMENTS: Final[dict[str, Any]] = {
    "source": {"type": "str", "required": True},
    "release": {"type": "str", "default": ""},
    "folder": {"type": "path", "required": True},
    "seconds": {"type": "float", "required": True},
}
# Git runs a program of the repository's choice for these; and a dash begins an option.
_HELPER: Final = re.compile(r"[A-Za-z0-9+.-]+::")
_RELEASE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_ENVIRONMENT: Final = {
    "GIT_ALLOW_PROTOCOL": "file:https:http:ssh:git",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


def fetch(params: dict[str, Any]) -> Part:
    """Get them; see the module's docstring."""
    source, release, seconds = params["source"], params["release"], params["seconds"]
    if not source or source.startswith("-") or _HELPER.match(source):
        raise InfrastructureError(f"{source!r} is neither a folder nor the URL of a git repository")
    path = Path(source)
    if source.startswith("/") and not path.is_dir():
        raise InfrastructureError(f"the installer's checkout {source} does not exist on this builder")
    if not path.is_dir() or _is_bare(path):
        path = Path(params["folder"])
        _clone(source, release, path, seconds)
    commit = _commit(path, seconds)
    return {"path": str(path), "version": " ".join(filter(None, [release, commit])), "tool_seconds": Clock.spent()}


def _is_bare(path: Path) -> bool:
    return (path / "HEAD").is_file() and (path / "objects").is_dir()


def _clone(source: str, release: str, folder: Path, seconds: float) -> None:
    if not _RELEASE.fullmatch(release):
        raise InfrastructureError(f"the release of {source} has to be pinned to a tag or branch, not {release!r}")
    ran = _git(["clone", "--quiet", "--depth=1", f"--branch={release}", "--", source, str(folder)], seconds)
    if ran.returncode != 0:
        raise InfrastructureError(f"{release} of {source} cannot be cloned: {last_line(ran.stderr)}")


def _commit(path: Path, seconds: float) -> str:
    """Return the commit of a checkout; "" where there is no git in it."""
    if not (path / ".git").exists():
        return ""
    ran = _git(["-c", f"safe.directory={path}", "-C", str(path), "rev-parse", "HEAD"], seconds)
    return ran.stdout.strip() if ran.returncode == 0 else ""


def _git(words: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    environment = os.environ | _ENVIRONMENT
    command = [require("git"), "-c", "core.hooksPath=/dev/null", *words]
    try:
        with Clock.running():
            return subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(f"git did not get the installer within {seconds:.0f} seconds") from error


if __name__ == "__main__":
    run_module(ARGUMENTS, fetch)
