"""The ledger: every message that arrives becomes one row with one final state and a reason."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ci_pipeline import rules
from ci_pipeline.bus import inbound
from ci_pipeline.bus.inbound import Push
from ci_pipeline.change import Change
from ci_pipeline.errors import ChangeError
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Inbound, Revision

_MAX_BODY_KEPT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came off the bus."""

    topic: str
    message_id: str
    raw: bytes


def record(session: Session, messages: Iterable[Received], settings: Settings) -> list[Inbound]:
    """Write messages into the ledger, decide about each, and create the runs of those that are queued.

    Args:
        session: an open transaction. Acknowledge the messages only after it is committed.
        messages: what arrived, in order.
        settings: which packages and branches are watched.

    Returns:
        The new rows, in order, each with its final state.
    """
    rows = [_record_one(session, message, settings) for message in messages]
    session.flush()
    return rows


def _record_one(session: Session, message: Received, settings: Settings) -> Inbound:
    row = Inbound(
        topic=_storable(message.topic.encode(errors="replace")),
        message_id=_storable(message.message_id.encode(errors="replace")),
        digest=sha256(message.raw).hexdigest(),
        body=_storable(message.raw[:_MAX_BODY_KEPT]),
        agent="",
    )
    try:
        push = inbound.read(message.topic, inbound.decode(message.raw), message_id=message.message_id)
    except ChangeError as error:
        row.state, row.reason = "dead", str(error)
    else:
        _decide(session, row, push, settings)
    session.add(row)
    return row


def _decide(session: Session, row: Inbound, push: Push, settings: Settings) -> None:
    change = push.change
    row.namespace, row.repo, row.rev, row.branch = change.namespace, change.repo, change.rev, change.branch
    row.agent = push.agent
    decision = rules.decide(change, settings, ignore_reason=push.ignore_reason)
    row.state, row.reason = decision.state, decision.reason
    if decision.state != "queued":
        return
    _lock(session, change)
    if known := _queued_before(session, change):
        row.state, row.run = "duplicate", known.run
        row.reason = f"the same change was queued by message {known.id}"
        return
    row.run = runs.create(session, change).id
    _index(session, push)


def _lock(session: Session, change: Change) -> None:
    """Make two intakes of one change wait for each other, until the transaction ends."""
    key = f"change:{change.namespace}/{change.repo}/{change.rev}/{change.branch}"
    session.execute(select(func.pg_advisory_xact_lock(func.hashtext(key))))


def _queued_before(session: Session, change: Change) -> Inbound | None:
    session.flush()
    wanted = select(Inbound).filter_by(state="queued", **change.model_dump())
    return session.scalar(wanted)


def _index(session: Session, push: Push) -> None:
    """Add the change to the index of revisions."""
    committed_at = push.commit_time or func.now()
    row = insert(Revision).values(committed_at=committed_at, **push.change.model_dump())
    session.execute(row.on_conflict_do_nothing())


def _storable(raw: bytes) -> str:
    """Return bytes as text PostgreSQL can hold: no NUL, nothing that is not UTF-8."""
    return raw.decode("utf-8", errors="backslashreplace").replace("\x00", "\\x00")
