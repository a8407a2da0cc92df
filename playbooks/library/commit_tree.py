#!/usr/bin/python
"""Commit the tree as a candidate: a child of the ref's head that the ref does not point at yet.

A ref of its own, candidate/<branch>/<build_id>, keeps the commit until it is promoted; the newest 20 of a branch stay.
A tree that lies over one of the base packages is committed over the commit of that, which is made once for each
repository and kept by a ref base/<key>; the 5 of those used last stay.
The version counts up from the parent's (`26.391` -> `26.392`); with no parent, or one of another release, from 1.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_base_tree import KEPT
from ansible.module_utils.ci_candidate import forget_old, next_version, outputs
from ansible.module_utils.ci_nevra import Nevra, to_pkglist
from ansible.module_utils.ci_ostree import PKGLIST, Repository, candidate_ref, valid_ref
from ansible.module_utils.ci_stage import Part, run_module
from ansible.module_utils.ci_tools import Clock, copy_tree
from ansible.module_utils.ci_tree import finish

ARGUMENTS: Final[dict[str, Any]] = {
    "tree": {"type": "path", "required": True},
    "base_tree": {"type": "str", "required": True},
    "base_key": {"type": "str", "required": True},
    "installed": {"type": "list", "elements": "list", "required": True},
    "ostree_repo": {"type": "path", "required": True},
    "ref": {"type": "str", "required": True},
    "branch": {"type": "str", "required": True},
    "build_id": {"type": "int", "required": True},
    "release": {"type": "str", "required": True},
}
_OF_ROOT: Final = ("--owner-uid=0", "--owner-gid=0", "--no-xattrs")


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
    base = [f"--base={_base(repository, params)}"] if params["base_tree"] else []
    return repository.ostree(
        "commit",
        f"--branch={candidate_ref(params['branch'], params['build_id'])}",
        f"--parent={parent or 'none'}",
        f"--subject={valid_ref(params['ref'])} {version}",
        *base,
        f"--tree=dir={params['tree']}",
        *_OF_ROOT,
        "--bootable",
        f"--add-metadata-string=version={version}",
        f"--add-metadata={PKGLIST}={to_pkglist(packages)}",
    ).strip()


def _base(repository: Repository, params: dict[str, Any]) -> str:
    """Return the commit of the base packages' tree; make it when this repository has none."""
    ref = valid_ref(f"base/{params['base_key']}")
    if not repository.head(ref):
        shaped = Path(params["tree"]).with_name("base-tree")
        shutil.rmtree(shaped, ignore_errors=True)
        copy_tree(Path(params["base_tree"]), shaped)
        finish(shaped, has_base=True)
        repository.ostree("commit", f"--branch={ref}", "--parent=none", f"--tree=dir={shaped}", *_OF_ROOT)
        shutil.rmtree(shaped)
    repository.keep_newest("base", ref, KEPT)
    return repository.head(ref)


if __name__ == "__main__":
    run_module(ARGUMENTS, commit)
