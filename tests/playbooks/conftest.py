"""Fixtures for the playbooks' tests: a dist-git of one's own, and a stage run the way the pipeline runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.playbooks.stage_runs import DistGit, stage_runner

if TYPE_CHECKING:
    from pathlib import Path

    from tests.playbooks.stage_runs import RunStage


@pytest.fixture
def dist_git(tmp_path: Path) -> DistGit:
    """Return an empty dist-git repository `rpms/hello` whose only branch will be f26."""
    return DistGit(tmp_path / "dist-git", "hello")


@pytest.fixture
def run_stage(tmp_path: Path) -> RunStage:
    """Return a function that runs a stage through ansible-runner, as the pipeline's executor does."""
    return stage_runner(tmp_path)
