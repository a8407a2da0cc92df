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

# Where Ansible puts them for a module: the tests of single ones import them from there.
ansible.module_utils.__path__.append(str(PLAYBOOKS / "module_utils"))

# What needs Kubernetes, which takes long to build: `make test-conformance`.
collect_ignore = [] if "KUBERNETES_OF_THE_TESTS" in os.environ else ["conformance"]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.playbooks.stage_runs import CarryOut, RunStage


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
