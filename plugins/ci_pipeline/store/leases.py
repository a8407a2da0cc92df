"""Leases: what one run at a time may have.

The compose lease of a branch is held by one run from its compose until its integration tests have ended: two runs
between those points would both build on the same parent, and the second promotion would undo the first. The cluster
lease is held from the provisioning of its hosts until it is torn down; whatever of a cluster runs without a lease is a
leftover.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ci_pipeline.conformance_sections import Conformance
from ci_pipeline.kind import Kind
from ci_pipeline.lane import Lane, behind
from ci_pipeline.store.storm_tables import LeaseWaiter
from ci_pipeline.store.tables import Lease, Run

_CLUSTER: Final = "cluster"
# Who waits asks every second (`sensors/lease_trigger.py`).
_WRITTEN_EVERY: Final = timedelta(seconds=3)
_GONE: Final = timedelta(seconds=15)


def compose_of(branch: str) -> str:
    """Return the name of a branch's compose lease."""
    return f"compose {branch}"


def cluster_of(branch: str, configured: Conformance) -> str:
    """Return the name of the lease of the cluster a branch is tested on: one that exists already is all branches'."""
    return _CLUSTER if configured.cluster == "existing" else f"{_CLUSTER} {branch}"


def acquire(session: Session, *, name: str, run: int) -> Run | None:
    """Take a lease for a run, if it is free and nobody goes first. A run that has ended holds nothing any more.

    Of those that ask again and again, who came first goes first: a storm or a backfill counts as having come later than
    it did (`lane.behind`). Who has stopped asking is not waited for.

    Returns:
        None when the run holds it now (or held it already), else the run that holds it, or goes first.
    """
    ended = select(Run.id).where(Run.status.is_not(None), Run.id != run)
    session.execute(delete(Lease).where(Lease.name == name, Lease.run_id.in_(ended)))
    first = _first_in_line(session, name, run)
    if first == run:
        session.execute(insert(Lease).values(name=name, run_id=run).on_conflict_do_nothing())
    holder = session.scalar(select(Lease.run_id).where(Lease.name == name))
    if holder == run:
        session.execute(delete(LeaseWaiter).where(LeaseWaiter.name == name, LeaseWaiter.run_id == run))
        return None
    _wait(session, name, run)
    return session.get(Run, holder or first)


def _first_in_line(session: Session, name: str, run: int) -> int:
    """Return the run that goes first: of those that wait, or this one."""
    line = select(LeaseWaiter.since, Run).join(Run, Run.id == LeaseWaiter.run_id).where(LeaseWaiter.name == name)
    still = (LeaseWaiter.asked_at > func.now() - _GONE) & Run.status.is_(None)
    waiting = {one.id: (since, one) for since, one in session.execute(line.where(still | (Run.id == run)))}
    waiting.setdefault(run, (datetime.now(UTC), session.get_one(Run, run)))
    turns = {one.id: (since + behind(Kind(one.kind), Lane(one.lane)), one.id) for since, one in waiting.values()}
    return min(turns, key=turns.__getitem__)


def _wait(session: Session, name: str, run: int) -> None:
    """Write down that a run waits; not each time it asks, for it asks every second."""
    asks = insert(LeaseWaiter).values(name=name, run_id=run)
    again = asks.on_conflict_do_update(
        index_elements=["name", "run_id"],
        set_={"asked_at": func.now()},
        where=LeaseWaiter.asked_at < func.now() - _WRITTEN_EVERY,
    )
    session.execute(again)


def holder_of(session: Session, name: str) -> Run | None:
    """Return the run that holds a lease."""
    return session.scalar(select(Run).join(Lease, Lease.run_id == Run.id).where(Lease.name == name))


def has_cluster(session: Session, *, run: int) -> bool:
    """Tell whether a run holds the lease of a cluster."""
    return bool(session.scalar(select(exists().where(Lease.run_id == run, Lease.name.startswith(_CLUSTER)))))


def release(session: Session, *, run: int, name: str | None = None) -> None:
    """Give back what a run holds, all of it unless a lease is named."""
    for table in (Lease, LeaseWaiter):
        held = delete(table).where(table.run_id == run)
        session.execute(held if name is None else held.where(table.name == name))


def release_cluster(session: Session, *, run: int) -> None:
    """Give back the lease of the cluster a run holds, if it holds one."""
    session.execute(delete(Lease).where(Lease.run_id == run, Lease.name.startswith(_CLUSTER)))
