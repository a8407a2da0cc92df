"""Leases: what one run at a time may have.

The compose lease of a branch is held by one run from its compose until its integration tests have ended: two runs
between those points would both build on the same parent, and the second promotion would undo the first. The cluster
lease is held from the provisioning of its hosts until it is torn down; whatever of a cluster runs without a lease is a
leftover.
"""

from typing import Final

from sqlalchemy import delete, exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ci_pipeline.conformance_sections import Conformance
from ci_pipeline.store.tables import Lease, Run

_CLUSTER: Final = "cluster"


def compose_of(branch: str) -> str:
    """Return the name of a branch's compose lease."""
    return f"compose {branch}"


def cluster_of(branch: str, configured: Conformance) -> str:
    """Return the name of the lease of the cluster a branch is tested on: one that exists already is all branches'."""
    return _CLUSTER if configured.cluster == "existing" else f"{_CLUSTER} {branch}"


def acquire(session: Session, *, name: str, run: int) -> Run | None:
    """Take a lease for a run. A run that has ended holds nothing any more.

    Returns:
        None when the run holds it now (or held it already), else the run that holds it.
    """
    ended = select(Run.id).where(Run.status.is_not(None), Run.id != run)
    session.execute(delete(Lease).where(Lease.name == name, Lease.run_id.in_(ended)))
    session.execute(insert(Lease).values(name=name, run_id=run).on_conflict_do_nothing())
    holder = session.scalar(select(Lease.run_id).where(Lease.name == name))
    return None if holder in {run, None} else session.get(Run, holder)


def holder_of(session: Session, name: str) -> Run | None:
    """Return the run that holds a lease."""
    return session.scalar(select(Run).join(Lease, Lease.run_id == Run.id).where(Lease.name == name))


def has_cluster(session: Session, *, run: int) -> bool:
    """Tell whether a run holds the lease of a cluster."""
    return bool(session.scalar(select(exists().where(Lease.run_id == run, Lease.name.startswith(_CLUSTER)))))


def release(session: Session, *, run: int, name: str | None = None) -> None:
    """Give back what a run holds, all of it unless a lease is named."""
    held = delete(Lease).where(Lease.run_id == run)
    session.execute(held if name is None else held.where(Lease.name == name))


def release_cluster(session: Session, *, run: int) -> None:
    """Give back the lease of the cluster a run holds, if it holds one."""
    session.execute(delete(Lease).where(Lease.run_id == run, Lease.name.startswith(_CLUSTER)))
