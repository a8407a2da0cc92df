#!/usr/bin/python
"""Promote a tested candidate: the ref moves to its commit, its packages join the branch's last good ones.

A compare-and-set: the ref's head must still be the commit's parent. A promotion that was cut short is completed by
doing it again. The package set is a folder of its own for each promotion (hard links, so it costs nothing); the
symlink `package_set` is switched to it in one step. The newest 3 stay.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_ostree import Repository, candidate_ref, valid_checksum
from ansible.module_utils.ci_repo import index
from ansible.module_utils.ci_rpm import Rpm, query
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module
from ansible.module_utils.ci_tools import Clock, locked, switch_link

if TYPE_CHECKING:
    from collections.abc import Iterable

ARGUMENTS: Final[dict[str, Any]] = {
    "ostree_repo": {"type": "path", "required": True},
    "ref": {"type": "str", "required": True},
    "branch": {"type": "str", "required": True},
    "build_id": {"type": "int", "required": True},
    "compose_rev": {"type": "str", "required": True},
    "parent_rev": {"type": "str", "required": True},
    "package_repo": {"type": "path", "required": True},
    "package_set": {"type": "path", "required": True},
    "workspace": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
}
KEPT: Final = 3
_SHORT: Final = 15


def promote(params: dict[str, Any]) -> Part:
    """Promote; see the module's docstring. Raises InfrastructureError when the branch moved since the compose."""
    rev, parent, ref = valid_checksum(params["compose_rev"]), params["parent_rev"], params["ref"]
    repository, link = Repository(Path(params["ostree_repo"])), Path(params["package_set"])
    if link.exists() and not link.is_symlink():
        raise InfrastructureError(f"{link} is a folder, not the symlink a promotion can switch; move it away")
    repository.require(rev)
    with locked(link.with_name(f".{link.name}.lock")):
        head = repository.head(ref)
        if head not in {parent, rev}:
            raise InfrastructureError(
                f"the branch moved from {parent or 'nothing'} to {head or 'nothing'} since this compose; "
                "run it again from compose_ostree"
            )
        packages = _package_set(params, link, rev)
        if parent:
            repository.ostree("static-delta", "generate", f"--from={parent}", f"--to={rev}")
        repository.set_ref(ref, rev)
        switch_link(link, packages.name)
        _tidy(repository, candidate_ref(params["branch"], params["build_id"]), link)
    return {"outputs": {"promoted": True}, "tool_seconds": Clock.spent()}


def _package_set(params: dict[str, Any], link: Path, rev: str) -> Path:
    """Make the folder with the last good packages, the candidate's in place of their older versions."""
    folder = link.with_name(f"{link.name}.{rev[:_SHORT]}")
    if folder.is_dir():
        return folder
    sandbox = Path(params["workspace"]), params["limits"]
    with Clock.running():
        new = _binaries(query(_files(Path(params["package_repo"])), *sandbox))
        old = _binaries(query(_files(link), *sandbox))
    names = {rpm.name for rpm in new}
    scratch = folder.with_name(f".{folder.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for rpm in [*(rpm for rpm in old if rpm.name not in names), *new]:
        _link_or_copy(rpm.path, scratch / rpm.path.name)
    with Clock.running():
        index(scratch, *sandbox)
    scratch.rename(folder)
    return folder


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.rpm")) if folder.is_dir() else []


def _binaries(rpms: Iterable[Rpm]) -> list[Rpm]:
    return [rpm for rpm in rpms if not rpm.is_source]


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _tidy(repository: Repository, candidate: str, link: Path) -> None:
    if repository.head(candidate):
        repository.delete_ref(candidate)
    repository.ostree("summary", "--update")
    sets = [path for path in link.parent.glob(f"{link.name}.*") if path.is_dir() and path.name != str(link.readlink())]
    for path in sorted(sets, key=lambda path: path.stat().st_mtime)[: -(KEPT - 1)]:
        shutil.rmtree(path)


if __name__ == "__main__":
    run_module(ARGUMENTS, promote)
