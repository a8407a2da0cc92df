"""A program that runs by itself: whoever started it sees that it has ended, or was killed, as anybody else does."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.ci_background import Background

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LONGEST = 30.0


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Background]:
    """What runs by itself in a folder of its own, and is over with the test."""
    made = Background(tmp_path / "program", "program.log")
    yield made
    made.stop()


def wait_for_its_end(program: Background) -> None:
    """Wait until it does not run any more."""
    end = time.monotonic() + _LONGEST
    while program.is_running():
        assert time.monotonic() < end, "it still runs"
        time.sleep(0.02)


def test_its_end_is_seen_by_who_started_it(program: Background) -> None:
    """Its process has nobody else who would ask how it ended; without that it would be there until we are not."""
    program.start(["/bin/sh", "-c", "echo done; exit 3"], {})
    wait_for_its_end(program)

    assert program.code == 3
    assert program.log.read_text(encoding="ascii") == "done\n"


def test_a_kill_is_seen_by_who_started_it(program: Background) -> None:
    """It leaves no exit code."""
    program.start(["sleep", "1000"], {})
    assert program.is_running()
    pid = int((program.folder / "pid").read_text(encoding="ascii").split()[0])
    os.killpg(pid, signal.SIGKILL)
    wait_for_its_end(program)

    assert program.code is None


def test_its_end_is_seen_by_who_did_not_start_it(program: Background) -> None:
    """By its number and its start alone."""
    program.start(["sleep", "1000"], {})
    found = Background(program.folder, program.log.name)
    assert found.is_running()
    program.stop()
    wait_for_its_end(program)

    assert not found.is_running()
