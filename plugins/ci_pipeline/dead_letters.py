"""What needs a human: messages that could not be read, and what of ours the bus or a sink refused.

A dead letter is a row of the ledger, and has its number; a parked message is one of the outbox, a parked delivery one
for a sink, and each has its id.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from ci_pipeline import store
from ci_pipeline.errors import StoreError
from ci_pipeline.intake import Intake
from ci_pipeline.settings import Settings
from ci_pipeline.sinks.parcel import Parcel
from ci_pipeline.store import deliveries, ledger
from ci_pipeline.store.downstream_tables import Delivery
from ci_pipeline.store.tables import Inbound, Outbox

Row = Inbound | Outbox | Delivery

_LARGEST_NUMBER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, a parked message or a parked delivery.

    Attributes:
        kind: `dead letter` (it came in), `parked` (it should be on the bus) or `parked delivery` (to a sink).
        id: its number in the ledger, or its id among what goes out.
        when: when it arrived, or was parked.
        topic: the topic it came on, or is to go out on; of a delivery the sink and the event.
        reason: why it could not be read, or why the bus or the sink refused it.
        run: of a delivery the run it is about: `f26/464`; else "".
    """

    kind: Literal["dead letter", "parked", "parked delivery"]
    id: str
    when: datetime
    topic: str
    reason: str
    run: str = ""


def listed(session: Session, *, limit: int) -> list[Letter]:
    """Return what needs a human, of all kinds, the newest first."""
    dead = select(Inbound).where(Inbound.state == "dead").order_by(Inbound.id.desc()).limit(limit)
    parked = select(Outbox).where(_is_parked()).order_by(Outbox.parked_at.desc()).limit(limit)
    refused = select(Delivery).where(deliveries.IS_PARKED).order_by(Delivery.parked_at.desc()).limit(limit)
    refused = refused.options(joinedload(Delivery.run))
    rows = (*session.scalars(dead), *session.scalars(parked), *session.scalars(refused))
    letters = [letter_of(row) for row in rows]
    return sorted(letters, key=lambda letter: letter.when, reverse=True)[:limit]


def find(session: Session, letter: str, *, lock: bool = False) -> Row:
    """Return the row of a dead letter, a parked message or a parked delivery.

    Args:
        session: an open transaction.
        letter: what `listed` calls its id.
        lock: whether nobody else may change it before the transaction ends.

    Raises:
        StoreError: there is none, or it is neither dead nor parked any more.
    """
    rows = (session.scalar(query.with_for_update() if lock else query) for query in _queries(letter))
    row: Row | None = next((row for row in rows if row is not None), None)
    if row is None:
        msg = f"no dead letter or parked message {letter[:80]!r}; `ci-pipeline dead list` lists them"
        raise StoreError(msg)
    return row


def letter_of(row: Row) -> Letter:
    """Return what is told of a row in a list."""
    if isinstance(row, Inbound):
        return Letter("dead letter", str(row.id), row.received_at, row.topic, row.reason)
    if isinstance(row, Delivery):
        topic, when = f"{row.sink}: {row.event}", row.parked_at or row.created_at
        return Letter("parked delivery", str(row.id), when, topic, row.answer, run=f"{row.run.branch}/{row.run.number}")
    return Letter("parked", str(row.id), row.parked_at or row.created_at, row.topic, row.error)


def body_of(session: Session, settings: Settings, row: Row) -> str:
    """Return the whole body: of a dead letter as it arrived (hostile: escape it for a terminal), else JSON.

    What a sink is told is made anew of what the database has; each kind of sink words it its own way.
    """
    if isinstance(row, Inbound):
        return row.body
    body = Parcel.of(session, settings, row).as_json() if isinstance(row, Delivery) else row.body
    return json.dumps(body, indent=2, sort_keys=True)


def replay(settings: Settings, letter: str) -> str:
    """Try one again: a dead letter is read and decided anew, a parked message goes out with the next publishing.

    Returns:
        A sentence that says what came of it.

    Raises:
        StoreError: there is no such letter, or what is kept of it is not what arrived.
    """
    with store.session() as session:
        row = find(session, letter, lock=True)
        return _read_again(session, settings, row) if isinstance(row, Inbound) else _release(settings, row)


def _read_again(session: Session, settings: Settings, row: Inbound) -> str:
    # No trigger run stands behind it: the announcement links to the list of them.
    intake = Intake(settings, trigger_run_id="")
    for one in ledger.redecide(session, row, settings):
        intake.announce(session, one)
    reason = f": {row.reason}" if row.reason else ""
    return f"message {row.id} is {'still ' if row.state == 'dead' else ''}{row.state}{reason}"


def _release(settings: Settings, row: Outbox | Delivery) -> str:
    if isinstance(row, Delivery):
        settings.sink(row.sink)
        deliveries.release(row)
        return f"delivery {row.id} goes to {row.sink} with the next pass"
    # Its error stays: the audit tells by it that this one goes out after its successors.
    row.parked_at = None
    return f"message {row.id} goes out on {row.topic} with the next publishing"


def _queries(letter: str) -> list[Any]:
    if letter.isascii() and letter.isdecimal():
        known = int(letter) <= _LARGEST_NUMBER
        return [select(Inbound).where(Inbound.id == int(letter), Inbound.state == "dead")] if known else []
    try:
        identity = UUID(letter)
    except ValueError:
        return []
    message = select(Outbox).where(Outbox.id == identity, _is_parked())
    return [message, select(Delivery).where(Delivery.id == identity, deliveries.IS_PARKED)]


def _is_parked() -> Any:
    return Outbox.parked_at.is_not(None) & Outbox.published_at.is_(None)
