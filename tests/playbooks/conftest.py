"""Fixtures for the playbooks' tests: a dist-git of one's own, and a stage run the way the pipeline runs it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import ansible.module_utils
import pytest

from ci_pipeline.errors import ExecutorError, StageEnded
from ci_pipeline.executors.ansible import AnsibleExecutor
from ci_pipeline.executors.report import Report, aborted, infrastructure_failure
from tests.playbooks.small_disk import SmallDisk
from tests.playbooks.stage_runs import PLAYBOOKS, DistGit, common, stage_runner
from tests.playbooks.stand_ins import stand_in_for_kubectl
from tests.playbooks.sti import DEMO

# Where Ansible puts them for a module: the tests of single ones import them from there.
ansible.module_utils.__path__.append(str(PLAYBOOKS / "module_utils"))

# What needs Kubernetes, which takes long to build: `make test-conformance`.
collect_ignore = [] if "KUBERNETES_OF_THE_TESTS" in os.environ else ["conformance"]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.playbooks.stage_runs import CarryOut, RunStage
    from tests.playbooks.sti import Run


@pytest.fixture
def dist_git(tmp_path: Path) -> DistGit:
    """Return an empty dist-git repository `rpms/hello` whose only branch will be f26."""
    return DistGit(tmp_path / "dist-git", "hello")


@pytest.fixture
def run_stage(tmp_path: Path) -> RunStage:
    """Return a function that runs a stage through ansible-runner, as the pipeline's executor does."""
    return stage_runner(tmp_path)


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what a stand-in for kubectl says, of a cluster that is ready; it is on the PATH."""
    folder = tmp_path / "kubectl"
    stand_in_for_kubectl(folder)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Return a disk of 8 MB, a tmpfs; skip where mounting is not allowed."""
    path = tmp_path / "small-disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "small-disk", str(path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def carry_out() -> CarryOut:
    """Return a function that has a stage carried out and reported the way the operator does."""

    def carry(stage: str, workspace: Path, **request: Any) -> Report:
        workspace.mkdir(parents=True, exist_ok=True)
        whole = common(stage, workspace.parent) | {"workspace": str(workspace)} | request
        try:
            return AnsibleExecutor(playbooks=PLAYBOOKS).run(whole, workspace=workspace)
        except StageEnded as error:
            return aborted(str(error))
        except ExecutorError as error:
            return infrastructure_failure(str(error))

    return carry


@pytest.fixture(scope="session")
def greeter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the repository of the demo's greeter, built once: what is tested with it is how its tests are run."""
    base = tmp_path_factory.mktemp("greeter")
    repository = DistGit(base / "dist-git", "hello")
    folder = DEMO / "greeter"
    rev = repository.commit(
        {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.is_file()}
    )
    repo = base / "packages"
    request = {
        "rev": rev,
        "dist_git_url": repository.url,
        "package_repo": str(repo),
        "package_link": str(base / "link"),
    }
    built = stage_runner(base)("build_package", **request)
    assert built["status"] == "SUCCESS", built["reason"]
    return repo


@pytest.fixture
def run_functional(run_stage: RunStage, dist_git: DistGit, greeter: Path) -> Run:
    """Return a function that runs these tests against the greeter."""

    def test(tests: dict[str, str], /, **request: Any) -> dict[str, Any]:
        common = {"rev": dist_git.commit(tests), "dist_git_url": dist_git.url, "package_repo": str(greeter)}
        return run_stage("functional_tests", **common, packages=["greeter"], nvr="greeter-1.2-1.fc26", **request)

    return test
