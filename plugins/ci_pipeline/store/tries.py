"""Tries of stages, written down: begun, ended, or never needed."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ci_pipeline.errors import StoreError
from ci_pipeline.executors.report import Report, Reused
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.stages import Stage
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Artifact, StageResult, TestResult

LOST: Final = "the task's process ended before it could report"
# Airflow counts tries from 1; a stage that an earlier one made pointless never had a try.
NEVER_TRIED: Final = 0
_SUBJECT: Final = ("nvr", "original_spec_nvr", "compose_rev")


def exists(session: Session, run: int, stage: Stage, try_number: int) -> bool:
    """Tell whether a try of a stage has begun."""
    return _find(session, run, stage, try_number) is not None


def begin(session: Session, run: int, stage: Stage, try_number: int) -> StageResult:
    """Record that a try of a stage has started. Beginning the same try again finds the row it made.

    An older try that never reported cannot do so any more: its process is gone.
    """
    found = _find(session, run, stage, try_number)
    if found is None:
        for lost in session.scalars(_of_stage(run, stage).where(StageResult.status.is_(None))):
            lost.status, lost.fault, lost.ended_at = Status.FAILURE, Fault.INFRASTRUCTURE, datetime.now(UTC)
            lost.reason = LOST
        found = _add(session, StageResult(run_id=run, stage=stage.name, try_number=try_number))
    return found


def note(session: Session, run: int, stage: Stage, try_number: int, outputs: dict[str, Any]) -> None:
    """Record what a try that goes on is known to make. One that has ended keeps what it said then."""
    found = _find(session, run, stage, try_number)
    if found is not None and found.status is None:
        found.outputs = {**found.outputs, **outputs}


def end(session: Session, run: int, stage: Stage, try_number: int, report: Report) -> StageResult:
    """Record how a try of a stage ended, with its tests and artifacts. The same report again changes nothing.

    Raises:
        StoreError: the try has ended otherwise, or a newer try has begun: whoever reports is a leftover of an old one.
    """
    found = _find(session, run, stage, try_number)
    newest = session.scalar(_of_stage(run, stage).with_only_columns(func.max(StageResult.try_number)))
    if found is not None and newest == try_number and _says(found, report):
        return found
    if found is None or found.status is not None or newest != try_number:
        msg = f"try {try_number} of {stage.name} may not report: it has ended, or try {newest} has taken its place"
        raise StoreError(msg)
    found.status, found.reason, found.fault = report.status, report.reason, report.fault
    found.outputs, found.tool_seconds = {**found.outputs, **report.outputs}, report.tool_seconds
    found.content_key = report.content_key if report.status is Status.SUCCESS else ""
    found.reused_from_id = report.source if isinstance(report, Reused) else None
    found.ended_at = datetime.now(UTC)
    found.tests = [TestResult(**test.model_dump()) for test in report.tests]
    found.artifacts = [Artifact(**artifact.model_dump()) for artifact in report.artifacts]
    session.flush()
    _name_subject(session, found)
    return found


def mark_skipped(session: Session, stage: Stage, because_of: StageResult) -> StageResult:
    """Record, without a try, that a stage has nothing to do because an earlier one was skipped."""
    found = _find(session, because_of.run_id, stage, NEVER_TRIED)
    if found is not None and found.id > because_of.id:
        return found
    if found is not None:
        session.delete(found)
        session.flush()
    skipped = StageResult(run_id=because_of.run_id, stage=stage.name, try_number=NEVER_TRIED, status=Status.SKIPPED)
    skipped.reason = f"nothing to work on: {because_of.stage} was skipped"
    skipped.started_at = skipped.ended_at = datetime.now(UTC)
    return _add(session, skipped)


def _add(session: Session, row: StageResult) -> StageResult:
    session.add(row)
    session.flush()
    _name_subject(session, row)
    return row


def _name_subject(session: Session, row: StageResult) -> None:
    """Write down what a try is about, which later tries of its run may change."""
    known = runs.outputs(session, row.run_id)
    for name in _SUBJECT:
        setattr(row, name, str(known.get(name, "")))
    session.flush()


def _of_stage(run: int, stage: Stage) -> Any:
    return select(StageResult).where(StageResult.run_id == run, StageResult.stage == stage.name)


def _find(session: Session, run: int, stage: Stage, try_number: int) -> StageResult | None:
    found: StageResult | None = session.scalar(_of_stage(run, stage).where(StageResult.try_number == try_number))
    return found


def _says(row: StageResult, report: Report) -> bool:
    """Tell whether a try has reported exactly this: its first commit was answered to nobody."""
    outputs = {**row.outputs, **report.outputs}
    return (row.status, row.reason, row.outputs) == (report.status, report.reason, outputs)
