#!/usr/bin/python
"""Fetch a package's source: clone dist-git, check that rev is on branch, write its files to <workspace>/source.

Returns `source` (path), `author_time` (ISO 8601) and the outputs `commits`, `commit_subject` and `commit_time`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_git import Clone
from ansible.module_utils.ci_stage import Part, run_module

ARGUMENTS: Final[dict[str, Any]] = {
    "url": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "repo": {"type": "str", "required": True},
    "rev": {"type": "str", "required": True},
    "branch": {"type": "str", "required": True},
    "workspace": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
}


def fetch(params: dict[str, Any]) -> Part:
    """Fetch and check the source; see the module's docstring."""
    workspace = Path(params["workspace"])
    name = f"{params['namespace']}/{params['repo']}"
    # Ended well before the stage is: a dist-git that hangs is worth another try, a stage over its time gets none.
    seconds, size = float(params["limits"]["seconds"]) / 2, int(params["limits"]["disk_mb"]) << 20
    clone = Clone(workspace / "git", params["url"], name, seconds=seconds, size_limit=size)
    clone.fetch()
    clone.check(params["rev"], params["branch"])
    clone.checkout(params["rev"], workspace / "source")
    commit = clone.describe(params["rev"])
    outputs = {"commits": commit.commits, "commit_subject": commit.subject, "commit_time": commit.time}
    return {"source": str(workspace / "source"), "author_time": commit.author_time, "outputs": outputs}


if __name__ == "__main__":
    run_module(ARGUMENTS, fetch)
