"""How far a suite is, by what it says of itself: nothing it says ends the stage that follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.ci_progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

GOOD = b'{"msg":"PASSED a","total":22,"completed":2,"failed":1}\n'


@pytest.mark.parametrize(
    "line",
    [
        b'{"msg":"a","total":1e999,"completed":1,"failed":0}\n',
        b'{"msg":' + b"[" * 3000 + b'"}\n',
        b'{"msg":"a","total":"9","completed":[],"failed":{}}\n',
        b'{"msg":"a"}\n',
        b'{"msg":\xff}\n',
    ],
)
def test_a_line_that_makes_no_sense_is_passed_over(tmp_path: Path, line: bytes) -> None:
    """What is told stays what the last good line said."""
    log, told = tmp_path / "log", tmp_path / "progress"
    log.write_bytes(GOOD + line)
    Progress(log, told).look()

    assert told.read_text() == "3 of 22 specs, 1 failed: PASSED a\n"
