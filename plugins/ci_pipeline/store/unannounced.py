"""Ignored pushes whose `package.ignore` is still to be said: their numbers in the ledger, a row for each batch.

In a storm that is nearly all there is. The ledger has what is to be said of them, so it is written when it is said, and
only their numbers when they are recorded. They count as what else waits in the outbox.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import any_, func, literal, select
from sqlalchemy.orm import Session, defer

from ci_pipeline.store import outbox
from ci_pipeline.store.tables import Inbound, Outbox, Unannounced

# So many are announced at a time.
_BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Ignored:
    """An ignored push that is to be announced.

    Attributes:
        row: its row of the ledger, without the message.
        trigger_run_id: the DAG run that listened when it came.
        since: since when it waits.
    """

    row: Inbound
    trigger_run_id: str
    since: datetime


# Makes of ignored pushes what is to be said of them, in their order: rows that are not in the database.
Word = Callable[[Sequence[Ignored]], list[Outbox]]


def add(session: Session, messages: Sequence[int], trigger_run_id: str) -> None:
    """Note that ignored pushes are to be announced, in the transaction that ignores them."""
    if messages:
        session.add(Unannounced(messages=list(messages), trigger_run_id=trigger_run_id))
        session.flush()


def waiting(session: Session, *, message: int | None = None, limit: int | None = None) -> list[Ignored]:
    """Return the ignored pushes that are to be announced, the oldest first; or one of them, by its number."""
    query = select(Unannounced).order_by(Unannounced.id).limit(limit)
    batches = session.scalars(query if message is None else query.where(literal(message) == any_(Unannounced.messages)))
    return _of(session, [(one, [message] if message else one.messages) for one in batches])[:limit]


def publish(session: Session, word: Word, publish: outbox.Publish) -> Sequence[outbox.Answer]:
    """Announce the oldest, once no other publisher is at work, and store what was said as published, or as refused.

    At least once: after a crash before the commit all of them, with the same ids, go out again.

    Returns:
        What the bus answered, in order; nothing when none is to be announced. What it did not take stays to be said.
    """
    outbox.lock(session)
    batch = session.scalar(select(Unannounced).order_by(Unannounced.id).limit(1))
    if batch is None:
        return ()
    chosen, left = batch.messages[:_BATCH], batch.messages[_BATCH:]
    said = word(_of(session, [(batch, chosen)]))
    answers = publish(said) if said else ()
    kept = outbox.store_answered(session, said, answers)
    _leave(session, batch, [number for number in chosen if number in kept] + left)
    return answers or (None,)


def _leave(session: Session, batch: Unannounced, messages: list[int]) -> None:
    if messages:
        batch.messages = messages
    else:
        session.delete(batch)
    session.flush()


def _of(session: Session, batches: Sequence[tuple[Unannounced, list[int]]]) -> list[Ignored]:
    numbers = [number for _, messages in batches for number in messages]
    query = select(Inbound).where(Inbound.id == func.any(numbers)).options(defer(Inbound.body))
    rows = {row.id: row for row in session.scalars(query)} if numbers else {}
    return [
        Ignored(rows[number], batch.trigger_run_id, batch.created_at)
        for batch, messages in batches
        for number in messages
        if number in rows
    ]
