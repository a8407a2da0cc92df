"""Messages that need a human: those that could not be read, and those of ours that the bus refused.

A dead letter is a row of the ledger, and has its number; a parked message is one of the outbox, and has its id.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from ci_pipeline import store
from ci_pipeline.errors import StoreError
from ci_pipeline.intake import Intake
from ci_pipeline.settings import Settings
from ci_pipeline.store import ledger
from ci_pipeline.store.tables import Inbound, Outbox

_LARGEST_NUMBER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter or a parked message.

    Attributes:
        kind: `dead letter` (it came in) or `parked` (it should have gone out).
        id: its number in the ledger, or its id in the outbox.
        when: when it arrived, or was parked.
        topic: the topic it came on, or is to go out on.
        reason: why it could not be read, or why the bus refused it.
    """

    kind: Literal["dead letter", "parked"]
    id: str
    when: datetime
    topic: str
    reason: str


def listed(session: Session, *, limit: int) -> list[Letter]:
    """Return what needs a human, of both kinds, the newest first."""
    dead = select(Inbound).where(Inbound.state == "dead").order_by(Inbound.id.desc()).limit(limit)
    parked = select(Outbox).where(_is_parked()).order_by(Outbox.parked_at.desc()).limit(limit)
    letters = [letter_of(row) for row in (*session.scalars(dead), *session.scalars(parked))]
    return sorted(letters, key=lambda letter: letter.when, reverse=True)[:limit]


def find(session: Session, letter: str, *, lock: bool = False) -> Inbound | Outbox:
    """Return the row of a dead letter or of a parked message.

    Args:
        session: an open transaction.
        letter: what `listed` calls its id.
        lock: whether nobody else may change it before the transaction ends.

    Raises:
        StoreError: there is none, or it is neither dead nor parked any more.
    """
    query: Any = _query(letter)
    row: Inbound | Outbox | None = None if query is None else session.scalar(query.with_for_update() if lock else query)
    if row is None:
        msg = f"no dead letter or parked message {letter[:80]!r}; `ci-pipeline dead list` lists them"
        raise StoreError(msg)
    return row


def letter_of(row: Inbound | Outbox) -> Letter:
    """Return what is told of a row in a list."""
    if isinstance(row, Inbound):
        return Letter("dead letter", str(row.id), row.received_at, row.topic, row.reason)
    return Letter("parked", str(row.id), row.parked_at or row.created_at, row.topic, row.error)


def body_of(row: Inbound | Outbox) -> str:
    """Return the whole stored body: of a dead letter as it arrived (hostile: escape it for a terminal), else JSON."""
    return row.body if isinstance(row, Inbound) else json.dumps(row.body, indent=2, sort_keys=True)


def replay(settings: Settings, letter: str) -> str:
    """Try one again: a dead letter is read and decided anew, a parked message goes out with the next publishing.

    Returns:
        A sentence that says what came of it.

    Raises:
        StoreError: there is no such letter, or what is kept of it is not what arrived.
    """
    with store.session() as session:
        row = find(session, letter, lock=True)
        return _read_again(session, settings, row) if isinstance(row, Inbound) else _release(row)


def _read_again(session: Session, settings: Settings, row: Inbound) -> str:
    ledger.redecide(session, row, settings)
    # No trigger run stands behind it: the announcement links to the list of them.
    Intake(settings, trigger_run_id="").announce(session, row)
    reason = f": {row.reason}" if row.reason else ""
    return f"message {row.id} is {'still ' if row.state == 'dead' else ''}{row.state}{reason}"


def _release(row: Outbox) -> str:
    # Its error stays: the audit tells by it that this one goes out after its successors.
    row.parked_at = None
    return f"message {row.id} goes out on {row.topic} with the next publishing"


def _query(letter: str) -> object:
    if letter.isascii() and letter.isdecimal():
        known = int(letter) <= _LARGEST_NUMBER
        return select(Inbound).where(Inbound.id == int(letter), Inbound.state == "dead") if known else None
    try:
        return select(Outbox).where(Outbox.id == UUID(letter), _is_parked())
    except ValueError:
        return None


def _is_parked() -> Any:
    return Outbox.parked_at.is_not(None) & Outbox.published_at.is_(None)
