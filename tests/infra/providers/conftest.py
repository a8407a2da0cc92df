"""Fixtures for the providers of clouds: servers that answer as these do, and no account of anybody's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.playbooks.conftest import run_stage

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["run_stage"]


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the account that runs the tests is used, whatever its clouds are."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "OS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("ANSIBLE_LOCALHOST_WARNING", "false")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a lease."""
    return tmp_path / "leases" / "ci-f26-1-integration"
