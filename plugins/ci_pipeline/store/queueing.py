"""What becomes of pushes that are wanted: each change is queued once, with a run; what comes again is a duplicate."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from ci_pipeline.bus.inbound import Push
from ci_pipeline.change import Change
from ci_pipeline.store import revisions, runs, storms
from ci_pipeline.store.tables import Inbound
from ci_pipeline.storm_sections import Storm


class Wanted(NamedTuple):
    """A push that is to be run, and its row in the ledger, which has its number already."""

    row: Inbound
    push: Push


def decide(session: Session, wanted: Sequence[Wanted], bounds: Storm) -> None:
    """Write on the rows of wanted pushes what becomes of them, and create the runs of those that are queued.

    Args:
        session: an open transaction that holds the ledger's lock. The rows need not be in the database yet.
        wanted: the pushes, in the order they came.
        bounds: what is a storm.
    """
    first = _queued_before(session, wanted)
    new, again = [], []
    for one in wanted:
        known = first.setdefault(one.push.change, one.row)
        if known is one.row:
            new.append(one)
        else:
            again.append((one.row, known))
    _queue(session, new, bounds)
    for row, known in again:
        row.state, row.run = "duplicate", known.run
        row.reason = f"the same change was queued by message {known.id}"


def _queue(session: Session, new: Sequence[Wanted], bounds: Storm) -> None:
    chooser = storms.LaneChooser(session, bounds)
    pushed = [(push.change, chooser.lane_of(push.agent, push.change)) for _, push in new]
    for (row, _), run in zip(new, runs.create_all(session, pushed), strict=True):
        row.state, row.reason, row.run = "queued", "", run.id
    revisions.add_all(session, [(push.change, push.commit_time) for _, push in new])


def _queued_before(session: Session, wanted: Iterable[Wanted]) -> dict[Change, Inbound]:
    """Return, of those changes that are known, the first message that queued them.

    One that was superseded meanwhile counts: the bus repeats messages.
    """
    changes = {_place(push.change): push.change for _, push in wanted}
    columns = (Inbound.namespace, Inbound.repo, Inbound.rev, Inbound.branch)
    known = select(Inbound).where(tuple_(*columns).in_(list(changes)), Inbound.state.in_(["queued", "superseded"]))
    found: dict[Change, Inbound] = {}
    for row in session.scalars(known.order_by(Inbound.id)):
        found.setdefault(changes[row.namespace, row.repo, row.rev, row.branch], row)
    return found


def _place(change: Change) -> tuple[str | None, ...]:
    return (change.namespace, change.repo, change.rev, change.branch)
