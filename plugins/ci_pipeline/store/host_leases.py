"""Leases of test hosts: written down before a provider is asked, so that what a killed worker left is found.

A row is the truth of what may be lent; the lease's folder has its key. A lease is a leak when its try has ended, or its
time is over, and nobody has returned it. Hosts of a cluster outlive the try that lent them: they are their run's as
long as it has its cluster.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from ci_pipeline.errors import StoreError
from ci_pipeline.stages import PROVISION_HOSTS
from ci_pipeline.store import leases
from ci_pipeline.store.builder_leases import time_of
from ci_pipeline.store.host_tables import HostLease
from ci_pipeline.store.tables import Run, StageResult

_NOT_OURS: Final = re.compile(r"[^A-Za-z0-9]+")
_LONGEST_BRANCH: Final = 16
# Whoever lent them is returning them then; and what still asks for hosts, without its worker, is ended meanwhile.
_FOLDING_UP: Final = timedelta(seconds=60)
_IS_LENT: Final = HostLease.returned_at.is_(None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of whom: so many hosts for so many hours. `machine`: the one they will run on, if it is ours."""

    provider: str
    count: int
    hours: float
    machine: str = ""


def name_of(run: Run, stage: str, try_number: int) -> str:
    """Return the id of the lease of a try: `ci-f26-12-integration-tests-1-0a1b2c3d`, the same each time.

    The last part is of this run alone: two pipelines may have the same run, and the same account at a provider.
    """
    of_run = f"{run.dag_id} {run.run_id} {run.created_at.timestamp()}"
    branch = _NOT_OURS.sub("-", run.branch)[:_LONGEST_BRANCH].strip("-")
    return f"ci-{branch}-{run.number}-{stage.replace('_', '-')}-{try_number}-{_digest(of_run)}"


def begin(session: Session, run: Run, stage: str, try_number: int, wanted: Wanted) -> HostLease:
    """Write a lease down, before its provider is asked. One that was begun before is gone on with."""
    name, until = name_of(run, stage, try_number), time_of(session) + timedelta(hours=wanted.hours)
    lease = session.get(HostLease, name) or HostLease(name=name, run_id=run.id, stage=stage, try_number=try_number)
    lease.provider, lease.machine, lease.hosts_count = wanted.provider, wanted.machine, wanted.count
    lease.until, lease.returned_at = until, None
    session.add(lease)
    session.flush()
    return lease


def record(session: Session, name: str, hosts: list[dict[str, Any]]) -> None:
    """Write down which hosts were lent."""
    named(session, name).hosts = hosts


def returned(session: Session, name: str) -> None:
    """Write down that the hosts are the provider's again."""
    lease = named(session, name)
    lease.returned_at, lease.trouble = lease.returned_at or time_of(session), ""


def not_returned(session: Session, name: str, why: str) -> None:
    """Write down why the hosts could not be returned; they stay lent."""
    named(session, name).trouble = why


def named(session: Session, name: str) -> HostLease:
    """Return a lease.

    Raises:
        StoreError: there is none of this name.
    """
    lease = session.get(HostLease, name)
    if lease is None:
        msg = f"there is no lease {name}; `ci-pipeline leases` lists them"
        raise StoreError(msg)
    return lease


def lent(session: Session) -> list[tuple[HostLease, Run]]:
    """Return what is not returned, oldest first, and whose it is."""
    rows = select(HostLease, Run).join(Run, Run.id == HostLease.run_id).where(_IS_LENT)
    return [(lease, run) for lease, run in session.execute(rows.order_by(HostLease.asked_at))]


def lent_to(session: Session, run: Run, stage: str) -> list[HostLease]:
    """Return what any try of a stage was lent and is not returned, oldest first."""
    of_stage = select(HostLease).where(_IS_LENT, HostLease.run_id == run.id, HostLease.stage == stage)
    return list(session.scalars(of_stage.order_by(HostLease.asked_at)))


def leaked(session: Session) -> list[tuple[HostLease, Run]]:
    """Return what is lent and nobody's: its try ended a minute ago, or its time is over."""
    now = time_of(session)
    return [(lease, run) for lease, run in lent(session) if lease.until <= now or _is_over(session, lease, run, now)]


def is_lent(session: Session, name: str) -> bool:
    """Tell whether a lease is known and not returned."""
    lease = session.get(HostLease, name)
    return lease is not None and lease.returned_at is None


def _is_over(session: Session, lease: HostLease, run: Run, now: datetime) -> bool:
    tries = select(StageResult).where(StageResult.run_id == run.id, StageResult.stage == lease.stage)
    this = session.scalar(tries.where(StageResult.try_number == lease.try_number))
    if run.status is None and this is not None and this.status is None:
        return False
    if lease.stage == PROVISION_HOSTS.name and leases.has_cluster(session, run=run.id):
        return False
    ended = (this.ended_at if this else None) or run.ended_at or lease.asked_at
    return ended + _FOLDING_UP <= now


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
