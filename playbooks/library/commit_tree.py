#!/usr/bin/python
"""Commit the tree as a candidate: a child of the ref's head that the ref does not point at yet.

A ref of its own, candidate/<branch>/<build_id>, keeps the commit until it is promoted; the newest 20 of a branch stay.
The version counts up from the parent's (`26.391` -> `26.392`); with no parent, or one of another release, from 1.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_candidate import forget_old, next_version, outputs
from ansible.module_utils.ci_nevra import Nevra, to_pkglist
from ansible.module_utils.ci_ostree import PKGLIST, Repository, candidate_ref, valid_ref
from ansible.module_utils.ci_stage import Part, run_module
from ansible.module_utils.ci_tools import Clock

ARGUMENTS: Final[dict[str, Any]] = {
    "tree": {"type": "path", "required": True},
    "installed": {"type": "list", "elements": "list", "required": True},
    "ostree_repo": {"type": "path", "required": True},
    "ref": {"type": "str", "required": True},
    "branch": {"type": "str", "required": True},
    "build_id": {"type": "int", "required": True},
    "release": {"type": "str", "required": True},
}


def commit(params: dict[str, Any]) -> Part:
    """Commit; see the module's docstring. Returns the outputs of compose_ostree."""
    repository = Repository(Path(params["ostree_repo"]))
    repository.create()
    parent = repository.head(params["ref"])
    version = next_version(repository.version(parent) if parent else "", params["release"])
    packages = [Nevra(*row) for row in params["installed"]]
    rev = _commit(repository, params, parent, version, packages)
    forget_old(repository, params["branch"], params["build_id"])
    shutil.rmtree(params["tree"])
    return {"outputs": outputs(repository, rev, version, parent, packages), "tool_seconds": Clock.spent()}


def _commit(repository: Repository, params: dict[str, Any], parent: str, version: str, packages: list[Nevra]) -> str:
    return repository.ostree(
        "commit",
        f"--branch={candidate_ref(params['branch'], params['build_id'])}",
        f"--parent={parent or 'none'}",
        f"--tree=dir={params['tree']}",
        f"--subject={valid_ref(params['ref'])} {version}",
        "--owner-uid=0",
        "--owner-gid=0",
        "--no-xattrs",
        "--bootable",
        f"--add-metadata-string=version={version}",
        f"--add-metadata={PKGLIST}={to_pkglist(packages)}",
    ).strip()


if __name__ == "__main__":
    run_module(ARGUMENTS, commit)
