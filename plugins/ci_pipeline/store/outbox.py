"""The outbox: what we say on the bus is stored in the transaction that makes it true, and published afterwards."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, not_, select
from sqlalchemy.orm import Session

from ci_pipeline.errors import MessageError, MessageRejected
from ci_pipeline.store import database
from ci_pipeline.store.tables import Outbox

# The contracts of messages: the original pipeline's first, then decisions and waivers.
OURS: Final = "ci-pipeline"
FEDORA_CI: Final = "fedora-ci"
GATING: Final = "gating"
# What is to be published, and was not yet.
IS_PENDING: Final = Outbox.published_at.is_(None) & Outbox.parked_at.is_(None) & not_(Outbox.withheld)
# The namespace of our message ids; any fixed UUID would do.
_NAMESPACE = uuid.UUID("6f1c1b0e-8b0a-5c3e-9f53-0d5b8d1f7a10")
# The key of an advisory lock; any fixed number would do.
_PUBLISHER_LOCK = 0x6F757462


def add(  # noqa: PLR0913 - the columns of a message, keyword-only
    session: Session,
    *,
    key: str,
    event: str,
    topic: str,
    body: Mapping[str, Any],
    run: int | None,
    inbound: int | None,
    contract: str = OURS,
    withheld: bool = False,
) -> Outbox | None:
    """Store a message to be published, once.

    Args:
        session: the transaction that makes the message true.
        key: what is said, in words that are the same however often it is said: `run 12: package.running 1`.
        event: the event of the message contract.
        topic: the full topic.
        body: the message, already checked against its schema.
        run: the run it speaks of; its messages are published in order.
        inbound: the ledger row it answers.
        contract: in whose words it is.
        withheld: keep it, and do not publish it.

    Returns:
        The new row, or None when it had been said before.
    """
    identity = uuid.uuid5(_NAMESPACE, key)
    if session.get(Outbox, identity) is not None:
        return None
    row = Outbox(id=identity, event=event, topic=topic, body=dict(body), run_id=run, inbound_id=inbound)
    row.contract, row.withheld = contract, withheld
    session.add(row)
    session.flush()
    return row


def said(session: Session, run: int, event: str) -> int:
    """Return how often a run has said `event` of the message contract."""
    ours = select(func.count()).where(Outbox.run_id == run, Outbox.event == event, Outbox.contract == OURS)
    return session.scalar(ours) or 0


def messages(
    session: Session, *, run: int | None = None, contract: str | None = None, limit: int = 10_000
) -> list[Outbox]:
    """Return stored messages, of one run or of all, of one contract or of all, in the order they are said in."""
    query = select(Outbox).order_by(Outbox.sequence).limit(limit)
    query = query if run is None else query.where(Outbox.run_id == run)
    return list(session.scalars(query if contract is None else query.where(Outbox.contract == contract)))


def publish_pending(publish: Callable[[Outbox], None], *, runs: Iterable[int] | None = None) -> int:
    """Publish what is pending, the oldest first, and mark it published.

    Each message is its own transaction: what the broker has confirmed is never said again because a later one failed.
    At least once: after a crash between confirm and commit the same id goes out again.

    Args:
        publish: hands one message to the bus.
        runs: only messages of these runs; default: all.

    Returns:
        The number of messages published.

    Raises:
        BusUnreachable: the broker is away; what is left stays pending.
    """
    chosen = None if runs is None else list(runs)
    published = 0
    while True:
        with database.session() as session:
            row = _next_pending(session, chosen)
            if row is None:
                return published
            published += _publish_one(row, publish)


def pending(session: Session) -> tuple[int, int]:
    """Return how many messages wait to be published, and how many are parked."""
    count = select(func.count()).select_from(Outbox)
    parked = count.where(Outbox.published_at.is_(None), Outbox.parked_at.is_not(None))
    waiting, refused = session.execute(
        select(count.where(IS_PENDING).scalar_subquery(), parked.scalar_subquery())
    ).one()
    return waiting, refused


def _next_pending(session: Session, runs: list[int] | None) -> Outbox | None:
    """Return the oldest pending message, once no other publisher is at work: two could break a run's order."""
    session.execute(select(func.pg_advisory_xact_lock(_PUBLISHER_LOCK)))
    unsent = select(Outbox).where(IS_PENDING)
    chosen = unsent if runs is None else unsent.where(Outbox.run_id.in_(runs))
    return session.scalar(chosen.order_by(Outbox.sequence).limit(1))


def _publish_one(row: Outbox, publish: Callable[[Outbox], None]) -> int:
    try:
        publish(row)
    except (MessageRejected, MessageError) as error:
        # Retrying cannot help: an operator has to look. The messages behind it still go out.
        row.parked_at, row.error = datetime.now(UTC), str(error)
        return 0
    row.published_at = datetime.now(UTC)
    return 1
