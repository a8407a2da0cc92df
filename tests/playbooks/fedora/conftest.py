"""Fedora's tools, as stand-ins on the PATH."""

import os
from pathlib import Path

import pytest

from tests.playbooks.fedora.stand_ins import Tools


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """The stand-ins."""
    made = Tools(tmp_path / "stand-ins")
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    return made
