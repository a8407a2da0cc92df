"""Fixtures for the hostile packages: a builder with secrets on it."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import ansible.module_utils
import pytest

from tests.hostile.builder import secret_builder
from tests.playbooks.stage_runs import PLAYBOOKS

# Where Ansible puts them for a module: the tests of single ones import them from there.
if str(PLAYBOOKS / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(PLAYBOOKS / "module_utils"))

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hostile.builder import Builder


@pytest.fixture(scope="module")
def builder() -> Iterator[Builder]:
    """Return a builder with secrets on it, for all attacks of a module: a harmless package must still build there."""
    with _builder() as one:
        yield one


@pytest.fixture(scope="module")
def package(builder: Builder) -> Path:
    """Return the repository of the harmless package, built."""
    built = builder.build_harmless()
    assert built.told == ("SUCCESS", "", "")
    return built.package_repo


@pytest.fixture
def open_builder() -> Iterator[Builder]:
    """Return a builder for what gets out."""
    with _builder() as one:
        yield one


@contextlib.contextmanager
def _builder() -> Iterator[Builder]:
    # Its own short path: the address of a Unix socket holds 108 bytes.
    folder = Path(tempfile.mkdtemp(prefix="ci-hostile-"))
    try:
        with secret_builder(folder) as one:
            yield one
    finally:
        # The tool, for it goes down into folders of any depth.
        subprocess.run(["rm", "-rf", folder], check=True)
