"""Leases of builders: a try of a stage has a slot while it is carried out, and says now and then that it goes on.

One that waits is a row, too: it keeps its place in the line as long as it goes on asking.

All times are the database's: those who take, keep and ask may be on different machines.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Final

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from ci_pipeline.kind import Kind
from ci_pipeline.lane import Lane, behind
from ci_pipeline.store.builder_tables import BuilderLease, SetAside
from ci_pipeline.store.tables import Run

# Of the advisory lock under which one at a time chooses; any fixed number would do.
_CHOOSING: Final = 0x6275696C
_DOUBLINGS: Final = 6
# Who waits asks every second (`sensors/builder_trigger.py`).
_WRITTEN_EVERY: Final = timedelta(seconds=3)
_GONE: Final = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A try of a stage: `run` is the run's row."""

    run: int
    stage: str
    try_number: int


def take(
    session: Session, ticket: Ticket, choose: Callable[[], tuple[str, str]], *, machines: int, seconds: int
) -> BuilderLease:
    """Have a try take a slot. One that holds one already keeps it, and gets its time anew.

    Args:
        session: an open transaction; until its end nobody else chooses.
        ticket: the try.
        choose: is called when it holds none: what it looks up stays true until then. Returns the name of a builder and
            "", or "" and what the try waits for.
        machines: how many virtual machines the try boots at once.
        seconds: how long it holds without a sign of life.

    Returns:
        The lease; of no builder when `choose` found none.
    """
    session.execute(select(func.pg_advisory_xact_lock(_CHOOSING)))
    now = time_of(session)
    lease = session.scalar(_of(ticket).with_for_update().execution_options(populate_existing=True))
    if lease is None or not _holds(lease, now):
        name, waits_for = choose()
        if lease is not None and not name and _waits(lease):
            return _wait_on(lease, waits_for, now)
        lease = lease or BuilderLease(run_id=ticket.run, stage=ticket.stage, try_number=ticket.try_number)
        lease.builder, lease.waits_for, lease.machines = name, waits_for, machines
        lease.acquired_at, lease.released_at = now, None
        session.add(lease)
    lease.expires_at = now + (timedelta(seconds=seconds) if lease.builder else _GONE)
    session.flush()
    return lease


def ahead(session: Session, ticket: Ticket) -> list[Ticket]:
    """Return the waiting tries that take a builder before this one does, in their order.

    Who came first goes first: a run of a storm or a backfill counts as having come later than it did (`lane.behind`).
    Who has stopped asking is not waited for.
    """
    waits = (BuilderLease.builder == "") & BuilderLease.released_at.is_(None) & Run.status.is_(None)
    asks = waits & (BuilderLease.expires_at > func.clock_timestamp())
    line = select(BuilderLease, Run).join(Run, Run.id == BuilderLease.run_id).where(asks)
    turns = {
        Ticket(run=run.id, stage=lease.stage, try_number=lease.try_number): (
            _counts_from(run, lease.acquired_at),
            lease.id,
        )
        for lease, run in session.execute(line)
    }
    own = session.scalar(_of(ticket))
    since = own.acquired_at if own and _waits(own) else time_of(session)
    mine = (_counts_from(session.get_one(Run, ticket.run), since), own.id if own else sys.maxsize)
    return [who for who, turn in sorted(turns.items(), key=itemgetter(1)) if turn < mine]


def renew(session: Session, ticket: Ticket, *, seconds: int) -> bool:
    """Give a try its time anew. Return whether it still holds its slot: an expired one may be another's by now."""
    lease = session.scalar(_of(ticket).with_for_update())
    now = time_of(session)
    if lease is None or not _holds(lease, now):
        return False
    lease.expires_at = now + timedelta(seconds=seconds)
    return True


def release(session: Session, ticket: Ticket) -> None:
    """Give the slot of a try back, if it holds one."""
    lease = session.scalar(_of(ticket).with_for_update())
    if lease is not None and lease.released_at is None:
        lease.released_at = min(time_of(session), lease.expires_at)


def held(session: Session) -> list[BuilderLease]:
    """Return what is held now, oldest first."""
    holding = BuilderLease.released_at.is_(None) & (BuilderLease.expires_at > func.clock_timestamp())
    has_one = BuilderLease.builder != ""
    return list(session.scalars(select(BuilderLease).where(holding, has_one).order_by(BuilderLease.acquired_at)))


def waits_for(session: Session, run: int) -> str:
    """Return what a run's newest try waits for before it has a builder, in a sentence; "": nothing."""
    newest = select(BuilderLease.waits_for).where(BuilderLease.run_id == run, BuilderLease.released_at.is_(None))
    return session.scalar(newest.order_by(BuilderLease.id.desc()).limit(1)) or ""


def earlier(session: Session, ticket: Ticket) -> set[str]:
    """Return the builders that earlier tries of the stage were on."""
    of_stage = select(BuilderLease.builder).where(BuilderLease.run_id == ticket.run, BuilderLease.stage == ticket.stage)
    of_stage = of_stage.where(BuilderLease.builder != "")
    return set(session.scalars(of_stage.where(BuilderLease.try_number < ticket.try_number)))


def set_aside(session: Session, builder: str, reason: str, *, seconds: int) -> datetime:
    """Leave a builder alone for so many seconds, twice as long for each failure in a row; return until when."""
    row = session.get(SetAside, builder, with_for_update=True)
    now = time_of(session)
    if row is None:
        row = SetAside(builder=builder, failures=0, since=now)
        session.add(row)
    # Several stages that lose the same builder together are one failure.
    if row.failures == 0 or row.until <= now:
        row.failures += 1
        row.until = now + timedelta(seconds=seconds * 2 ** min(row.failures - 1, _DOUBLINGS))
    row.reason = reason
    return row.until


def reached(session: Session, builder: str) -> None:
    """Forget that a builder could not be reached."""
    session.execute(delete(SetAside).where(SetAside.builder == builder))


def aside(session: Session) -> list[SetAside]:
    """Return the builders that are left alone now."""
    left = select(SetAside).where(SetAside.until > func.clock_timestamp())
    return list(session.scalars(left.order_by(SetAside.builder)))


def time_of(session: Session) -> datetime:
    """Return what time it is for the database: not when the transaction began, which may have waited."""
    now: datetime = session.scalars(select(func.clock_timestamp())).one()
    return now


def _of(ticket: Ticket) -> Select[BuilderLease]:
    return select(BuilderLease).where(
        BuilderLease.run_id == ticket.run,
        BuilderLease.stage == ticket.stage,
        BuilderLease.try_number == ticket.try_number,
    )


def _holds(lease: BuilderLease, now: datetime) -> bool:
    return lease.builder != "" and lease.released_at is None and lease.expires_at > now


def _waits(lease: BuilderLease) -> bool:
    return lease.builder == "" and lease.released_at is None


def _wait_on(lease: BuilderLease, waits_for: str, now: datetime) -> BuilderLease:
    """Go on waiting, since when it does; not written down each time it asks, for it asks every second."""
    lease.waits_for = waits_for
    if lease.expires_at < now + _GONE - _WRITTEN_EVERY:
        lease.expires_at = now + _GONE
    return lease


def _counts_from(run: Run, since: datetime) -> datetime:
    return since + behind(Kind(run.kind), Lane(run.lane))
