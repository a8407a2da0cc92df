"""A branch with one promoted commit, and candidates built with rpmbuild.

The base OS is made once a session, and so is the branch; each test gets a copy of it.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.playbooks.host.branches import SPEC, Branch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.playbooks.host.branches import BuildCandidate
    from tests.playbooks.stage_runs import DistGit, RunStage


@pytest.fixture(scope="session")
def host_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that holds what a session makes once."""
    return tmp_path_factory.mktemp("host")


@pytest.fixture(scope="session")
def build_candidate(host_folder: Path) -> BuildCandidate:
    """Return a function that builds a package with rpmbuild, once for the same content."""

    def build(version: str, *, name: str = "hello", **sections: str) -> Path:
        given = {"header": "", "install": "", "scriptlet": "", "files": ""} | sections
        spec = SPEC.format(name=name, version=version, **given)
        folder = host_folder / f"candidate-{abs(hash(spec))}"
        if not folder.exists():
            _rpmbuild(spec, folder)
        return folder

    return build


def _rpmbuild(spec: str, folder: Path) -> None:
    top = folder.with_name(f"{folder.name}-build")
    top.mkdir()
    (top / "it.spec").write_text(spec, encoding="utf-8")
    command = ["rpmbuild", "--quiet", "-ba", "--define", f"_topdir {top}", "--define", f"_dbpath {top}/db"]
    subprocess.run([*command, str(top / "it.spec")], check=True, capture_output=True)
    folder.mkdir()
    for path in top.rglob("*.rpm"):
        path.rename(folder / path.name)
    subprocess.run(["createrepo_c", "--quiet", "--excludes=*.src.rpm", str(folder)], check=True)
    shutil.rmtree(top)


@pytest.fixture
def new_branch(tmp_path: Path, host_folder: Path, run_stage: RunStage, dist_git: DistGit) -> Branch:
    """Return a branch that nothing was composed on yet."""
    dist_git.commit({"hello.spec": "Name: hello\n"})
    folder = tmp_path / "f26"
    folder.mkdir()
    return Branch(folder, host_folder / "base", host_folder / "cache", run_stage, dist_git)


@pytest.fixture
def branch(new_branch: Branch, host_folder: Path, build_candidate: BuildCandidate) -> Branch:
    """Return a branch with hello 1.0 promoted as version 26.1."""
    master = host_folder / "promoted"
    if not master.exists():
        composed = new_branch.compose(build_candidate("1.0"))
        assert composed["status"] == "SUCCESS", composed
        tested = new_branch.integrate(composed, build_candidate("1.0"))
        assert tested["status"] == "SUCCESS", tested
        new_branch.folder.rename(master)
    shutil.copytree(master, new_branch.folder, symlinks=True, dirs_exist_ok=True)
    return new_branch
