"""The report a stage leaves (`result.json`), read as the hostile input it is: docs/stage-contract.md."""

import errno
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ci_pipeline.errors import ExecutorError
from ci_pipeline.outcome import Fault, Status, TestOutcome
from ci_pipeline.redaction import redacted

REPORT_NAME: Final = "result.json"
MAKE_ROOM: Final = "make room there, for example with `ci-pipeline prune`, then clear the task"
MAX_REPORT_BYTES: Final = 32 * 1024 * 1024
_TAIL_BYTES: Final = 16 * 1024
_LONGEST_LINE: Final = 300
_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


def clean(text: str) -> str:
    """Strip ANSI sequences and control characters, which test output and logs are full of."""
    return _CONTROL.sub("", text)


def _storable(outputs: dict[str, Any]) -> dict[str, Any]:
    """Refuse what JSON has no word for, or PostgreSQL's JSON no place.

    Raises:
        ValueError: there is a NaN, an infinity or a NUL in it, or it is nested too deeply.
    """
    try:
        told = json.dumps(outputs, allow_nan=False)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if "\\u0000" in told:
        raise ValueError("there is a NUL in it")
    return outputs


# What a 64-bit column holds.
_LARGEST: Final = 2**63 - 1
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Line = Annotated[str, AfterValidator(clean), StringConstraints(max_length=4000)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReportedArtifact(_Part):
    """A file the stage made. `size` in bytes."""

    name: Line
    path: Annotated[str, StringConstraints(pattern=r"^/[^\x00]*$", max_length=4000)]
    kind: Literal["srpm", "rpm", "image", "log", "junit", "report"]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, le=_LARGEST)]


class ReportedTest(_Part):
    """One test case. `seconds` is 0 when the test did not say."""

    name: Line
    outcome: TestOutcome
    seconds: Seconds = 0
    message: Line = ""


class Report(_Part):
    """How a stage ended; with `again_in`, that it has not, and is to be looked at again in so many seconds.

    `seconds` is the wall time of what the stage waits for, if that began before this playbook did. `content_key` is of
    all that gets into the output; with `reuses` nothing was made, and what is kept of that key is to be taken.
    """

    status: Status
    reason: Line = ""
    fault: Fault = Fault.NONE
    outputs: Annotated[dict[str, Any], AfterValidator(_storable)] = {}
    artifacts: Annotated[list[ReportedArtifact], Field(max_length=1000)] = []
    tests: Annotated[list[ReportedTest], Field(max_length=50_000)] = []
    tool_seconds: Seconds = 0
    again_in: Annotated[float, Field(ge=0, le=3600)] = 0
    seconds: Seconds = 0
    content_key: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = ""
    reuses: bool = False


class Reused(Report):
    """The report of a stage whose output was made by another run. No stage can say so of itself.

    `source` is the result that made it: its row.
    """

    source: int


def aborted(reason: str) -> Report:
    """Return the report of a stage that someone, or a limit, ended."""
    return Report(status=Status.ABORTED, reason=redacted(clean(reason))[:4000])


def infrastructure_failure(reason: str) -> Report:
    """Return the report of a stage that could not be carried out."""
    return Report(status=Status.FAILURE, fault=Fault.INFRASTRUCTURE, reason=redacted(clean(reason))[:4000])


def sentence_of(error: OSError, workspace: Path) -> str:
    """Return what a failed system call means for the stage that works there."""
    where = error.filename or workspace
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"the disk is full: {error.strerror}: {where}; {MAKE_ROOM}"
    return f"the pipeline's own machine failed the stage: {error.strerror or error}: {where}"


def over_time(report: Report, *, seconds: float, limit: int) -> Report:
    """Return the report of a stage that took so long, as it counts.

    Several clocks run: one for each command in the sandbox, one for the whole stage. Whichever is first, a stage that
    used up its time and did not succeed is ABORTED; what it found and kept by then stays.

    Args:
        report: what the stage left.
        seconds: the wall time it took.
        limit: its limit, `limits.seconds`.
    """
    if max(seconds, report.seconds) < limit or report.status in {Status.SUCCESS, Status.SKIPPED}:
        return report
    said = f"{ran_over(limit)}: {report.reason}" if report.reason else ran_over(limit)
    return report.model_copy(update={"status": Status.ABORTED, "fault": Fault.NONE, "reason": said[:4000]})


def ran_over(limit: int) -> str:
    """Return the sentence for a stage that used up its time."""
    return f"the stage was ended: it used up its limit of {limit} s (limits.seconds)"


def read_report(workspace: Path) -> Report:
    """Read `result.json` of a workspace.

    Raises:
        ExecutorError: there is none, it is too large, no regular file, or breaks the contract.
    """
    try:
        return parse_report(_read_regular_file(workspace / REPORT_NAME))
    except OSError as error:
        msg = f"the stage left no {REPORT_NAME}: {error.strerror}; see its log"
        raise ExecutorError(msg) from error


def parse_report(data: bytes) -> Report:
    """Return the report that is in `data`.

    Raises:
        ExecutorError: it is too large, or breaks the contract.
    """
    if len(data) > MAX_REPORT_BYTES:
        msg = f"the stage's {REPORT_NAME} is larger than {MAX_REPORT_BYTES} bytes"
        raise ExecutorError(msg)
    try:
        report = Report.model_validate_json(data)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        msg = f"the stage's {REPORT_NAME} breaks the stage contract at {where or 'its top'}: {problem['msg']}"
        raise ExecutorError(msg) from error
    if report.again_in and report.status is not Status.SUCCESS:
        msg = f"the stage's {REPORT_NAME} breaks the stage contract at again_in: a stage that goes on has no status yet"
        raise ExecutorError(msg)
    if report.reuses and (not report.content_key or report.status is not Status.SUCCESS or report.again_in):
        msg = f"the stage's {REPORT_NAME} breaks the stage contract at reuses: it names no key, or has not succeeded"
        raise ExecutorError(msg)
    if report.status is Status.ABORTED:
        msg = f"the stage's {REPORT_NAME} breaks the stage contract at status: a stage cannot abort itself"
        raise ExecutorError(msg)
    return report


def tail_of(log: ReportedArtifact, *, lines: int = 40) -> list[str]:
    """Return the last lines of a log the stage left, fit for another log; none if it cannot be read."""
    try:
        with open_regular_file(Path(log.path)) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return []
    return [clean(line)[:_LONGEST_LINE] for line in text.splitlines()[-lines:]]


def _read_regular_file(path: Path) -> bytes:
    with open_regular_file(path) as file:
        return file.read(MAX_REPORT_BYTES + 1)


def open_regular_file(path: Path) -> BinaryIO:
    """Open a file that package code could have tampered with: no symlink is followed, no pipe waited for.

    Raises:
        OSError: it cannot be read.
    """
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
