"""A stage's report is hostile until it is read."""

import contextlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_pipeline.errors import ExecutorError
from ci_pipeline.executors import report
from ci_pipeline.executors.report import Report, ReportedArtifact, over_time, read_report, tail_of
from ci_pipeline.outcome import Fault, Status

GOOD = {"status": "SUCCESS", "outputs": {"nvr": "a-1-1"}, "tool_seconds": 1.5}


def leave(workspace: Path, content: object) -> Path:
    """Leave a result.json."""
    text = content if isinstance(content, str) else json.dumps(content)
    (workspace / report.REPORT_NAME).write_text(text)
    return workspace


def test_no_report_is_an_error_that_says_so(tmp_path: Path) -> None:
    """A playbook that died is not a pass."""
    with pytest.raises(ExecutorError, match=r"left no result\.json: No such file"):
        read_report(tmp_path)


def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    """Package code could point it at a file of the host."""
    secret = leave(tmp_path, GOOD) / report.REPORT_NAME
    other = tmp_path / "other"
    other.mkdir()
    (other / report.REPORT_NAME).symlink_to(secret)

    with pytest.raises(ExecutorError, match=r"left no result\.json"):
        read_report(other)


def test_a_pipe_does_not_hang_us(tmp_path: Path) -> None:
    """Reading it ends at once."""
    os.mkfifo(tmp_path / report.REPORT_NAME)

    with pytest.raises(ExecutorError):
        read_report(tmp_path)


def test_a_huge_report_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it fills the memory."""
    monkeypatch.setattr(report, "MAX_REPORT_BYTES", 10)

    with pytest.raises(ExecutorError, match="larger than 10 bytes"):
        read_report(leave(tmp_path, GOOD))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"status": "GREAT"}, "status"),
        ({"status": "ABORTED"}, "status"),
        ({"fault": "mine"}, "fault"),
        ({"outputs": []}, "outputs"),
        ({"extra": 1}, "extra"),
        ({"tests": [{"name": "a", "outcome": "great"}]}, "tests.0.outcome"),
        ({"artifacts": [{"name": "a", "path": "b", "kind": "rpm", "sha256": "0" * 64, "size": 1}]}, "artifacts.0.path"),
        ({"artifacts": [{"name": "a", "path": "/b", "kind": "x", "sha256": "0" * 64, "size": 1}]}, "artifacts.0.kind"),
        ({"tool_seconds": -1}, "tool_seconds"),
    ],
)
def test_what_breaks_the_contract_is_named(tmp_path: Path, change: dict[str, object], where: str) -> None:
    """So that the author of a role finds it."""
    with pytest.raises(ExecutorError, match=f"breaks the stage contract at {where}"):
        read_report(leave(tmp_path, GOOD | change))


@given(st.text())
def test_any_text_is_a_report_or_an_executor_error(text: str) -> None:
    """Nothing else comes out of reading it."""
    with contextlib.suppress(ExecutorError):
        assert isinstance(report.parse_report(text.encode("utf-8", "surrogatepass")), Report)


def test_ansi_and_control_characters_are_stripped(tmp_path: Path) -> None:
    """A test name goes into pages, logs and messages."""
    found = read_report(leave(tmp_path, GOOD | {"reason": "\x1b[31mred\x1b[0m \x07bell", "fault": "package"}))

    assert found.reason == "red bell"


def test_a_good_report_is_read(tmp_path: Path) -> None:
    """All of it."""
    found = read_report(leave(tmp_path, GOOD))

    assert (found.status, found.outputs, found.fault) == (Status.SUCCESS, {"nvr": "a-1-1"}, Fault.NONE)


def test_the_end_of_a_log_is_fit_for_another_log(tmp_path: Path) -> None:
    """The last lines, bounded, without escapes; nothing of what a symlink points to."""
    log, link = tmp_path / "build.log", tmp_path / "link.log"
    log.write_bytes(b"x" * 100_000 + b"\n" + b"\n".join(b"\x1b[1mline %d" % n for n in range(50)))
    link.symlink_to(log)
    artifact = {"name": "build.log", "kind": "log", "sha256": "0" * 64, "size": 1}
    real, linked = (ReportedArtifact(path=str(path), **artifact) for path in (log, link))

    assert tail_of(real, lines=3) == ["line 47", "line 48", "line 49"]
    assert max(len(line) for line in tail_of(real, lines=100)) <= 300
    assert tail_of(linked) == []


@pytest.mark.parametrize(
    ("status", "seconds", "counts_as"),
    [
        (Status.FAILURE, 10, Status.ABORTED),
        (Status.UNSTABLE, 12, Status.ABORTED),  # its last test was cut off
        (Status.FAILURE, 9.9, Status.FAILURE),
        (Status.SUCCESS, 12, Status.SUCCESS),  # it is done, so nothing is gained by ending it
        (Status.SKIPPED, 12, Status.SKIPPED),
    ],
)
def test_a_stage_over_its_time_counts_as_aborted(status: Status, seconds: float, counts_as: Status) -> None:
    """Unless it succeeded all the same."""
    assert over_time(Report(status=status), seconds=seconds, limit=10).status is counts_as


@pytest.mark.parametrize(
    "part",
    [
        '"outputs": {"nvr": "a\\u0000"}',
        '"outputs": {"nvr": NaN}',
        '"outputs": {"nvr": [Infinity]}',
        '"tool_seconds": Infinity',
        '"tests": [{"name": "a", "outcome": "passed", "seconds": Infinity}]',
        f'"artifacts": [{{"name": "a", "path": "/a", "kind": "log", "sha256": "{"0" * 64}", "size": {2**63}}}]',
    ],
)
def test_what_the_database_has_no_place_for_breaks_the_contract(tmp_path: Path, part: str) -> None:
    """Else the stage's end could not be written down, and the run would hang on it."""
    leave(tmp_path, f'{{"status": "SUCCESS", {part}}}')

    with pytest.raises(ExecutorError, match="breaks the stage contract at"):
        read_report(tmp_path)
