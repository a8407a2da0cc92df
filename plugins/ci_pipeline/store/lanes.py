"""The storm lane: runs that wait for their turn, and whose turn it is."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from ci_pipeline import lane
from ci_pipeline.errors import StoreError
from ci_pipeline.lane import Crowd, Lane
from ci_pipeline.outcome import Status
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Inbound, Run, StageResult
from ci_pipeline.storm_sections import Storm as Bounds

# Of the advisory lock under which one at a time lets runs go; any fixed number would do.
_LETTING_GO: Final = 0x73746F72
_HOUR: Final = timedelta(hours=1)

IN_THE_LANE: Final = Run.lane == Lane.STORM
IS_HELD_BACK: Final = and_(IN_THE_LANE, Run.fired_at.is_(None), Run.status.is_(None))
# What is not fired although nothing holds it back: Airflow is away, or does not take it.
IS_UNFIRED: Final = and_(Run.lane == Lane.LIVE, Run.fired_at.is_(None), Run.status.is_(None))
GOES_ON: Final = and_(Run.fired_at.is_not(None), Run.status.is_(None))
IS_LET_GO: Final = and_(IN_THE_LANE, GOES_ON)


@dataclass(frozen=True, slots=True)
class Drain:
    """How the lane drains.

    Attributes:
        waiting: runs that are held back.
        going_on: runs of the lane that go on.
        ended: how many of it have run and ended within the last hour.
        seconds: the time in which they did: an hour, or since the first of them was let go.
    """

    waiting: int = 0
    going_on: int = 0
    ended: int = 0
    seconds: float = 0.0

    def seconds_for(self, number: int) -> float | None:
        """Return how long it takes until so many more have ended, as fast as they do now; None: not known yet."""
        return number * self.seconds / self.ended if self.ended and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """How long it takes until the lane is empty; None: not known yet."""
        left = self.waiting + self.going_on
        return self.seconds_for(left) if left else 0.0


def lock(session: Session) -> bool:
    """Have this transaction alone let runs of the lane go, until it ends; return whether it has the right to."""
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(_LETTING_GO))))


def next_to_go(session: Session, bounds: Bounds, *, but: Collection[str] = ()) -> Run | None:
    """Return the held-back run whose turn it is, if there is room for one.

    Args:
        session: an open transaction that has the lock.
        bounds: how many may go on, and begin.
        but: branches that take none now.
    """
    busy = _busy(session)
    if sum(storm for _, storm in busy.values()) >= bounds.at_once or _used_up(session, bounds):
        return None
    oldest = select(Run.branch, func.min(Run.id)).where(IS_HELD_BACK).group_by(Run.branch)
    waiting = [Crowd(branch, first, *busy.get(branch, (0, 0))) for branch, first in session.execute(oldest)]
    chosen = lane.next_of([crowd for crowd in waiting if crowd.branch not in but])
    return session.get(Run, chosen.oldest) if chosen else None


def inherit(session: Session, row: Inbound, replaced: Sequence[Run]) -> None:
    """Let a change that takes the place of a live one be live, too: what somebody waits for is in it."""
    if row.run and any(run.lane == Lane.LIVE for run in replaced):
        session.get_one(Run, row.run).lane = Lane.LIVE


def drain(session: Session) -> Drain:
    """Return how the lane drains."""
    # A run that was superseded before it began took no time: it says nothing of those that do.
    began = select(StageResult.id).where(
        StageResult.run_id == Run.id, StageResult.status.is_distinct_from(Status.SKIPPED)
    )
    recent = and_(IN_THE_LANE, Run.ended_at > func.now() - _HOUR, Run.status.is_not(None), began.exists())
    first = func.greatest(func.min(Run.fired_at), func.now() - _HOUR)
    waiting, going_on = (select(func.count()).where(which).scalar_subquery() for which in (IS_HELD_BACK, IS_LET_GO))
    ended = select(waiting, going_on, func.count(), func.extract("epoch", func.now() - first)).where(recent)
    held_back, busy, count, seconds = session.execute(ended).one()
    return Drain(held_back, busy, count, float(seconds) if count else 0.0)


def waiting_by_account(session: Session) -> list[tuple[str, int, datetime]]:
    """Return of each account how many of its runs are held back, and since when the oldest is; the most first."""
    asked = select(Inbound.agent, func.count(), func.min(Run.created_at)).join(Run, Run.id == Inbound.run)
    grouped = asked.where(IS_HELD_BACK, Inbound.state == "queued").group_by(Inbound.agent)
    return [(row[0], row[1], row[2]) for row in session.execute(grouped.order_by(func.count().desc(), Inbound.agent))]


def place_of(session: Session, run: Run) -> int:
    """Return the place of a held-back run among them all: 1 goes next. Branches take turns."""
    turn = func.row_number().over(partition_by=Run.branch, order_by=Run.id)
    waiting = select(Run.id, turn.label("turn")).where(IS_HELD_BACK).subquery()
    place = func.row_number().over(order_by=(waiting.c.turn, waiting.c.id))
    placed = select(waiting.c.id, place.label("place")).subquery()
    return session.scalar(select(placed.c.place).where(placed.c.id == run.id)) or 0


def release(session: Session, run_id: str) -> Run:
    """Take a held-back run out of the lane: it goes as one that is pushed alone.

    Raises:
        StoreError: there is no such run, or it is not held back.
    """
    run = runs.locked(session, runs.get(session, run_id).id)
    if run.lane != Lane.STORM or run.fired_at or run.status:
        state = run.status or ("running" if run.fired_at else "queued")
        msg = f"run {run.branch}/{run.number} is not held back: it is {state}; `ci-pipeline storm` shows what waits"
        raise StoreError(msg)
    run.lane = Lane.LIVE
    return run


def is_fired(session: Session, run: int) -> bool:
    """Tell whether Airflow has been told of a run."""
    return session.scalar(select(Run.fired_at).where(Run.id == run)) is not None


def _busy(session: Session) -> dict[str, tuple[int, int]]:
    """Return of each branch how many runs go on, and how many of these are in the lane."""
    counted = select(Run.branch, func.count(), func.count().filter(IN_THE_LANE)).where(GOES_ON).group_by(Run.branch)
    return {branch: (count, storm) for branch, count, storm in session.execute(counted)}


def _used_up(session: Session, bounds: Bounds) -> bool:
    begun = select(func.count()).where(IN_THE_LANE, Run.fired_at > func.now() - _HOUR)
    return bool(bounds.per_hour) and (session.scalar(begun) or 0) >= bounds.per_hour
