"""Storms: an account that pushes very many changes in a short time, found in the ledger.

An account storms from its first change beyond `storm.changes` within the window, until its changes in the window are no
more than half of that. All of it is in the database: a listener that is started anew knows what the last one knew.
"""

import logging
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, func, not_, select
from sqlalchemy.orm import Session

from ci_pipeline.change import Change
from ci_pipeline.lane import Lane
from ci_pipeline.store.storm_tables import Storm
from ci_pipeline.store.tables import Inbound
from ci_pipeline.storm_sections import Storm as Bounds

log = logging.getLogger(__name__)


def lane_of(session: Session, account: str, change: Change, bounds: Bounds) -> Lane:
    """Return the lane of a change that is to be queued, and write down that a storm begins if one does.

    A change is counted once, for however many branches and architectures it is pushed; so is one that was superseded.

    Args:
        session: an open transaction that holds the ledger's lock.
        account: who pushed, as the message says it.
        change: what is to be queued.
        bounds: what is a storm.
    """
    if account in bounds.never:
        return Lane.LIVE
    if account in bounds.always or _storms(session, account):
        return Lane.STORM
    others = not_(and_(*(getattr(Inbound, name) == getattr(change, name) for name in ("namespace", "repo", "rev"))))
    if _count(session, account, bounds, others, most=bounds.changes) < bounds.changes:
        return Lane.LIVE
    session.add(Storm(account=account))
    session.flush()
    log.warning("a storm of %s begins: its changes wait for their turn (storm.at_once)", name_of(account))
    return Lane.STORM


def calm_down(session: Session, bounds: Bounds) -> list[Storm]:
    """Write down which storms are over; return them. What they left waiting stays in the lane until it has run."""
    # Whoever looks at the same moment passes over them: that a storm is over is said once.
    looked_at = select(Storm).where(Storm.calmed_at.is_(None)).order_by(Storm.id).with_for_update(skip_locked=True)
    over = [storm for storm in session.scalars(looked_at) if _is_over(session, storm, bounds)]
    for storm in over:
        storm.calmed_at = session.scalar(select(func.now()))
    return over


def going_on(session: Session) -> list[Storm]:
    """Return the storms that go on, the oldest first."""
    return list(session.scalars(select(Storm).where(Storm.calmed_at.is_(None)).order_by(Storm.id)))


def name_of(account: str) -> str:
    """Return how an account is called: messages need not name one."""
    return account or "an account that is not named"


def _storms(session: Session, account: str) -> bool:
    asked = select(Storm.id).where(Storm.account == account, Storm.calmed_at.is_(None))
    return session.scalar(asked) is not None


def _is_over(session: Session, storm: Storm, bounds: Bounds) -> bool:
    if storm.account in bounds.never:
        return True
    few = bounds.changes // 2
    return _count(session, storm.account, bounds, most=few + 1) <= few


def _count(session: Session, account: str, bounds: Bounds, *conditions: ColumnElement[bool], most: int) -> int:
    """Count the different changes of an account that were taken up within the window, `most` at most."""
    since = func.now() - timedelta(minutes=bounds.window_minutes)
    wanted = select(Inbound.namespace, Inbound.repo, Inbound.rev).where(
        Inbound.agent == account, Inbound.state.in_(["queued", "superseded"]), Inbound.received_at > since, *conditions
    )
    return session.scalar(select(func.count()).select_from(wanted.distinct().limit(most).subquery())) or 0
