"""Fixtures for the hostile packages: a builder with secrets on it."""

from __future__ import annotations

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


@pytest.fixture
def builder() -> Iterator[Builder]:
    """Return a builder with secrets on it; after the attacks of a test, a harmless package must still build there."""
    # Its own short path: the address of a Unix socket holds 108 bytes.
    folder = Path(tempfile.mkdtemp(prefix="ci-hostile-"))
    try:
        with secret_builder(folder) as one:
            yield one
    finally:
        # The tool, for it goes down into folders of any depth.
        subprocess.run(["rm", "-rf", folder], check=True)
