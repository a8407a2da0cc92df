"""Storms: an account that pushes very many changes in a short time, found in the ledger.

An account storms from its first change beyond `storm.changes` within the window, until its changes in the window are no
more than half of that. All of it is in the database: a listener that is started anew knows what the last one knew.
"""

import logging
from datetime import timedelta

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from ci_pipeline.change import Change
from ci_pipeline.lane import Lane
from ci_pipeline.store.storm_tables import Storm
from ci_pipeline.store.tables import Inbound
from ci_pipeline.storm_sections import Storm as Bounds

log = logging.getLogger(__name__)


# A change, whatever the branch: namespace, package, revision.
_Pushed = tuple[str | None, str | None, str | None]


class LaneChooser:
    """Chooses the lanes of changes that are to be queued in one transaction, one after the other.

    A change is counted once, for however many branches and architectures it is pushed; so is one that was superseded.
    """

    def __init__(self, session: Session, bounds: Bounds) -> None:
        """Use an open transaction that holds the ledger's lock, and what is a storm."""
        self._session = session
        self._bounds = bounds
        self._storming: dict[str, bool] = {}
        self._pushed: dict[str, set[_Pushed]] = {}

    def lane_of(self, account: str, change: Change) -> Lane:
        """Return the lane of the next change, and write down that a storm begins if one does.

        Args:
            account: who pushed, as the message says it.
            change: what is to be queued.
        """
        if account in self._bounds.never:
            return Lane.LIVE
        if account in self._bounds.always or self._storms(account):
            return Lane.STORM
        pushed, this = self._pushed_by(account), _pushed_of(change)
        if len(pushed - {this}) < self._bounds.changes:
            pushed.add(this)
            return Lane.LIVE
        self._begin(account)
        return Lane.STORM

    def _begin(self, account: str) -> None:
        self._session.add(Storm(account=account))
        self._session.flush()
        self._storming[account] = True
        log.warning("a storm of %s begins: its changes wait for their turn (storm.at_once)", name_of(account))

    def _storms(self, account: str) -> bool:
        if account not in self._storming:
            asked = select(Storm.id).where(Storm.account == account, Storm.calmed_at.is_(None))
            self._storming[account] = self._session.scalar(asked) is not None
        return self._storming[account]

    def _pushed_by(self, account: str) -> set[_Pushed]:
        """Return what an account has pushed within the window; of very much so much that it is a storm anyway."""
        if account not in self._pushed:
            asked = _of_window(account, self._bounds).limit(self._bounds.changes + 1)
            self._pushed[account] = {(row[0], row[1], row[2]) for row in self._session.execute(asked)}
        return self._pushed[account]


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


def _is_over(session: Session, storm: Storm, bounds: Bounds) -> bool:
    if storm.account in bounds.never:
        return True
    few = bounds.changes // 2
    counted = select(func.count()).select_from(_of_window(storm.account, bounds).limit(few + 1).subquery())
    return (session.scalar(counted) or 0) <= few


def _of_window(account: str, bounds: Bounds) -> Select[str | None, str | None, str | None]:
    """Return the different changes of an account that were taken up within the window."""
    since = func.now() - timedelta(minutes=bounds.window_minutes)
    taken = select(Inbound.namespace, Inbound.repo, Inbound.rev).where(
        Inbound.agent == account, Inbound.state.in_(["queued", "superseded"]), Inbound.received_at > since
    )
    return taken.distinct()


def _pushed_of(change: Change) -> _Pushed:
    return change.namespace, change.repo, change.rev
