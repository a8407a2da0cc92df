"""A dist-git of the demo's kind, and an independent reader of it."""

import subprocess
from pathlib import Path

import pytest

from ci_pipeline import settings
from ci_pipeline.demo import distgit
from ci_pipeline.demo.distgit import DistGit
from ci_pipeline.settings import Settings

SOURCES = settings.project_folder() / "demo" / "packages"


def git(repository: Path, *arguments: str) -> str:
    """Return what git says of a repository."""
    done = subprocess.run(["git", "-C", repository, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def place(current: Settings, tmp_path: Path) -> DistGit:
    """A dist-git whose hooks publish on the session's broker."""
    made = distgit.of_state(tmp_path)
    distgit.ensure(made, SOURCES, current)
    return made
