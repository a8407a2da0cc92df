"""Tells a sink of the past: what happened before it was configured, or while the settings did not have it."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from ci_pipeline import store
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.sink_sections import SinkSettings
from ci_pipeline.stages import COMPLETE, STEPS
from ci_pipeline.store import deliveries, outbox, runs
from ci_pipeline.store.downstream_tables import Delivery
from ci_pipeline.store.tables import Run, StageResult


def recall(settings: Settings, name: str, since: datetime) -> int:
    """Store deliveries of what counts of the runs that ended since a time: the results of their stages, and their ends.

    What has been stored for the sink already, delivered or not, is not stored again.

    Returns:
        The number of deliveries stored.

    Raises:
        SettingsError: there is no such sink.
    """
    sink = settings.sink(name)
    with store.session() as session:
        ended = select(Run.id).where(Run.ended_at >= since, Run.status.is_not(None)).order_by(Run.ended_at)
        found = list(session.scalars(ended))
    return sum(_recall_run(sink, run) for run in found)


def _recall_run(sink: SinkSettings, row: int) -> int:
    """Store those of one run, which is a transaction of its own."""
    with store.session() as session:
        run = runs.locked(session, row)
        if run.status is None or run.ended_at is None:
            return 0  # it has begun again meanwhile, and speaks for itself
        told = sum(_tell_result(session, sink, run, event, result) for event, result in _results(session, run))
        return told + _tell_end(session, sink, run, run.status, run.ended_at)


def _results(session: Session, run: Run) -> Iterator[tuple[str, StageResult]]:
    """Yield what a run would say of its stages now, each with the try that says it."""
    results = runs.latest_results(session, run.id)
    for steps in STEPS.values():
        done = [results[step.name] for step in steps if step.name in results]
        if done and done[0].status == Status.SKIPPED and not outbox.said(session, run.id, steps[0].running):
            yield steps[0].skipped, done[0]
        elif done:
            yield steps[0].complete, done[-1]


def _tell_result(session: Session, sink: SinkSettings, run: Run, event: str, result: StageResult) -> bool:
    """Store that a try ended, unless the sink is told already, and tell whether it was stored."""
    same = Delivery.event.endswith(".complete") | Delivery.event.endswith(".skipped")
    ended_at, phase = result.ended_at, event.rpartition(".")[2]
    if (
        ended_at is None
        or phase not in sink.events
        or _is_told(session, sink, run, Delivery.result_id == result.id, same)
    ):
        return False
    key, status = f"result {result.id}", str(result.status)
    deliveries.add(session, sink=sink.name, run=run, result=result, key=key, event=event, status=status, at=ended_at)
    return True


def _tell_end(session: Session, sink: SinkSettings, run: Run, status: str, at: datetime) -> bool:
    """Store that a run ended, unless the sink is told already, and tell whether it was stored."""
    if COMPLETE not in sink.events or _is_told(session, sink, run, Delivery.event == COMPLETE, Delivery.at == at):
        return False
    key = f"end {at.isoformat()}"
    deliveries.add(session, sink=sink.name, run=run, result=None, key=key, event=COMPLETE, status=status, at=at)
    return True


def _is_told(session: Session, sink: SinkSettings, run: Run, *conditions: ColumnElement[bool]) -> bool:
    known = select(Delivery.id).where(Delivery.sink == sink.name, Delivery.run_id == run.id, *conditions).limit(1)
    return session.scalar(known) is not None
