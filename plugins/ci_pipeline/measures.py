"""What is measured of the pipeline: plain numbers, read from the database. `operators/metrics.py` sends them.

docs/operating.md lists every one, and what to be alarmed by.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from ci_pipeline.outcome import Status
from ci_pipeline.stages import Stage
from ci_pipeline.store import deliveries, lanes, outbox, runs, storms
from ci_pipeline.store.tables import Inbound, Outbox, Run, Unannounced

_DECISIONS: Final = ("ignored", "queued", "duplicate", "superseded", "dead")
_ENDS: Final = (Status.SUCCESS, Status.UNSTABLE, Status.FAILURE, Status.ABORTED)


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Of one try of a stage, in seconds: how long it took, and how long it waited for its turn."""

    took: float
    waited: float


def of_everything(session: Session, sinks: Iterable[str] = ()) -> dict[str, float]:
    """Return how things are now, by name: totals so far, what waits, and for how long the oldest of it has waited.

    Args:
        session: an open transaction.
        sinks: names of the configured sinks: of these, nothing that waits is measured, too.
    """
    waiting, parked = outbox.pending(session)
    pending = select(func.min(Outbox.created_at)).where(outbox.IS_PENDING).scalar_subquery()
    unsaid = select(func.min(Unannounced.created_at)).scalar_subquery()
    changes, oldest_change = _count_of(session, lanes.IS_UNFIRED)
    return {
        **_counted(session, "messages", Inbound.__table__.c.state, _DECISIONS),
        **_counted(session, "runs", func.lower(Run.status), [end.lower() for end in _ENDS]),
        "runs.going_on": len(runs.going_on(session)),
        "changes.waiting": changes,
        "changes.oldest_seconds": _age(oldest_change),
        **_of_storms(session),
        "outbox.waiting": waiting,
        "outbox.oldest_seconds": _age(session.scalar(select(func.least(pending, unsaid)))),
        "outbox.parked": parked,
        **_of_sinks(session, sinks),
    }


def of_stage(session: Session, run: Run, stage: Stage) -> StageTimes | None:
    """Return the times of the newest try of a stage; None when it has not ended, or is out of date."""
    results = runs.latest_results(session, run.id)
    this = results.get(stage.name)
    if this is None or this.ended_at is None:
        return None
    before = [result.ended_at for result in results.values() if result.id < this.id and result.ended_at]
    ready = max(before, default=run.fired_at or run.created_at)
    return StageTimes(
        took=(this.ended_at - this.started_at).total_seconds(),
        waited=max(0.0, (this.started_at - ready).total_seconds()),
    )


def _of_storms(session: Session) -> dict[str, float]:
    held_back, oldest = _count_of(session, lanes.IS_HELD_BACK)
    going_on, _ = _count_of(session, lanes.IS_LET_GO)
    return {
        "storm.accounts": len(storms.going_on(session)),
        "storm.waiting": held_back,
        "storm.oldest_seconds": _age(oldest),
        "storm.going_on": going_on,
    }


def _count_of(session: Session, which: ColumnElement[bool]) -> tuple[int, datetime | None]:
    count, oldest = session.execute(select(func.count(), func.min(Run.created_at)).where(which)).one()
    return count, oldest


def _of_sinks(session: Session, sinks: Iterable[str]) -> dict[str, float]:
    measured: dict[str, float] = {}
    for sink in deliveries.states(session, sinks):
        name = f"sinks.{sink.name}"
        measured |= {f"{name}.waiting": sink.waiting, f"{name}.parked": sink.parked}
        measured[f"{name}.oldest_seconds"] = _age(sink.oldest_at)
    return measured


def _counted(session: Session, name: str, column: ColumnElement[Any], values: Iterable[str]) -> dict[str, float]:
    counts = session.execute(select(column.label("value"), func.count().label("rows")).group_by(column))
    found: dict[str, int] = {row.value: row.rows for row in counts}
    return {f"{name}.{value}": found.get(value, 0) for value in values}


def _age(since: datetime | None) -> float:
    return (datetime.now(UTC) - since).total_seconds() if since else 0.0
