"""The outbox: what we say on the bus is stored in the transaction that makes it true, and published afterwards."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from sqlalchemy import Table, func, not_, select, update
from sqlalchemy.orm import Session, joinedload

from ci_pipeline.errors import CiPipelineError, MessageError, MessageRejected
from ci_pipeline.store import bulk, database
from ci_pipeline.store.tables import Outbox, Unannounced

# The contracts of messages: the original pipeline's first, then decisions and waivers.
OURS: Final = "ci-pipeline"
FEDORA_CI: Final = "fedora-ci"
GATING: Final = "gating"
# What is to be published, and was not yet.
IS_PENDING: Final = Outbox.published_at.is_(None) & Outbox.parked_at.is_(None) & not_(Outbox.withheld)
_TABLE: Final = cast("Table", Outbox.__table__)
# What is written of a row whose answer is known: all but what the database fills in.
_ANSWERED: Final = tuple(column.name for column in _TABLE.columns if column.name != "sequence")
# The namespace of our message ids; any fixed UUID would do.
_NAMESPACE = uuid.UUID("6f1c1b0e-8b0a-5c3e-9f53-0d5b8d1f7a10")
# The key of an advisory lock; any fixed number would do.
_PUBLISHER_LOCK = 0x6F757462
# So many messages are read at a time; what is confirmed is marked in the same transaction.
_BATCH: Final = 200
_REFUSALS: Final = (MessageRejected, MessageError)
# None for what the bus has confirmed, and else what kept it from the bus.
Answer = CiPipelineError | None
# Hands messages to the bus; returns its answers in their order.
Publish = Callable[[Sequence[Outbox]], Sequence[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """A message to be published.

    Attributes:
        key: what is said, in words that are the same however often it is said: `run 12: package.running 1`.
        event: the event of the message contract.
        topic: the full topic.
        body: the message, already checked against its schema.
        run: the run it speaks of; its messages are published in order.
        inbound: the ledger row it answers.
        contract: in whose words it is.
        withheld: keep it, and do not publish it.
    """

    key: str
    event: str
    topic: str
    body: Mapping[str, Any]
    run: int | None
    inbound: int | None = None
    contract: str = OURS
    withheld: bool = False

    @property
    def id(self) -> uuid.UUID:
        """The same for the same key."""
        return uuid.uuid5(_NAMESPACE, self.key)


def add(session: Session, saying: Saying) -> Outbox | None:
    """Store a message to be published, once, in the transaction that makes it true.

    Returns:
        The new row, or None when it had been said before.
    """
    if session.get(Outbox, saying.id) is not None:
        return None
    row = Outbox(**_columns(saying))
    session.add(row)
    session.flush()
    return row


def add_all(session: Session, sayings: Iterable[Saying]) -> None:
    """Store messages to be published, in this order; what had been said before stays as it is."""
    bulk.insert_new(session, _TABLE, [_columns(saying) for saying in sayings])


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


def publish_pending(
    publish: Publish, *, runs: Iterable[int] | None = None, stop: Callable[[], bool] = lambda: False
) -> int:
    """Publish what is pending, a batch at a time and the oldest first, and mark what the broker has confirmed.

    A batch holds one message of each run: the next one is not sent before the one in front of it is confirmed, so a
    run is heard in order whatever becomes of its messages. What is of no run has no order to keep.

    At least once: after a crash between confirm and commit the ids of a batch go out again.

    Args:
        publish: hands a batch to the bus.
        runs: only messages of these runs; default: all.
        stop: asked after each batch whether something else is to be done first; then what is left stays pending.

    Returns:
        The number of messages published.

    Raises:
        BusUnreachable, SettingsError: what kept a message from the bus and may pass; what is left stays pending.
    """
    chosen = None if runs is None else list(runs)
    published = 0
    while True:
        with database.session() as session:
            batch = _next_batch(session, chosen)
            answers = publish(batch) if batch else ()
            published += _mark(session, batch, answers)
        if not batch:
            return published
        raise_if_away(answers)
        if stop():
            return published


def raise_if_away(answers: Iterable[Answer]) -> None:
    """Raise what kept a message from the bus and may pass, if there is such an answer."""
    for answer in answers:
        if answer and not isinstance(answer, _REFUSALS):
            raise answer


def pending(session: Session) -> tuple[int, int]:
    """Return how many messages wait to be published, those about ignored pushes among them, and how many are parked."""
    count = select(func.count()).select_from(Outbox)
    parked = count.where(Outbox.published_at.is_(None), Outbox.parked_at.is_not(None))
    ignored = select(func.coalesce(func.sum(func.cardinality(Unannounced.messages)), 0))
    counts = (count.where(IS_PENDING), ignored, parked)
    waiting, unannounced, refused = session.execute(select(*(one.scalar_subquery() for one in counts))).one()
    return waiting + int(unannounced), refused


def made(saying: Saying, *, created_at: datetime) -> Outbox:
    """Return a message as a row that is not in the database."""
    return Outbox(**_columns(saying), created_at=created_at, error="")


def store_answered(session: Session, rows: Sequence[Outbox], answers: Sequence[Answer]) -> set[int]:
    """Store messages that were handed to the bus before they were stored: as published, or as parked.

    Returns:
        The ledger's numbers of those that are neither: they are not stored.
    """
    now = datetime.now(UTC)
    left: set[int] = set()
    kept: list[dict[str, Any]] = []
    for row, answer in zip(rows, answers, strict=True):
        if answer is not None and not isinstance(answer, _REFUSALS):
            left.add(row.inbound_id or 0)
            continue
        row.published_at, row.parked_at, row.error = (None, now, str(answer)) if answer else (now, None, "")
        kept.append({name: getattr(row, name) for name in _ANSWERED})
    bulk.insert_new(session, _TABLE, kept)
    return left


def lock(session: Session) -> None:
    """Let one publisher at a time be at work, until the transaction ends: two at once could break a run's order."""
    session.execute(select(func.pg_advisory_xact_lock(_PUBLISHER_LOCK)))


def _columns(saying: Saying) -> dict[str, Any]:
    return {
        "id": saying.id,
        "event": saying.event,
        "topic": saying.topic,
        "body": dict(saying.body),
        "run_id": saying.run,
        "inbound_id": saying.inbound,
        "contract": saying.contract,
        "withheld": saying.withheld,
    }


def _next_batch(session: Session, runs: list[int] | None) -> list[Outbox]:
    """Return the oldest pending messages, of each run the first, once no other publisher is at work."""
    lock(session)
    unsent = select(Outbox).where(IS_PENDING).order_by(Outbox.sequence).limit(_BATCH).options(joinedload(Outbox.run))
    oldest = session.scalars(unsent if runs is None else unsent.where(Outbox.run_id.in_(runs)))
    first: dict[int | uuid.UUID, Outbox] = {}
    for row in oldest:
        first.setdefault(row.run_id or row.id, row)
    return list(first.values())


def _mark(session: Session, batch: Sequence[Outbox], answers: Sequence[Answer]) -> int:
    """Write down what became of messages; return how many are published."""
    answered = list(zip(batch, answers, strict=True))
    confirmed = [row.id for row, answer in answered if answer is None]
    if confirmed:
        marked = update(Outbox).where(Outbox.id.in_(confirmed)).values(published_at=datetime.now(UTC))
        session.execute(marked, execution_options={"synchronize_session": False})
    for row, answer in answered:
        if isinstance(answer, _REFUSALS):
            # Retrying cannot help: an operator has to look. The messages behind it still go out.
            row.parked_at, row.error = datetime.now(UTC), str(answer)
    return len(confirmed)
