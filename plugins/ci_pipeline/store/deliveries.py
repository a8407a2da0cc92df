"""Deliveries: what downstream datahubs are to be told, stored in the transaction that makes it true.

Each sink has a queue of its own. What a sink does not take now waits, with all behind it; what it refuses is parked.
"""

import itertools
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ci_pipeline.store import database
from ci_pipeline.store.downstream_tables import Delivery
from ci_pipeline.store.tables import Run, StageResult

IS_PENDING: Final = Delivery.delivered_at.is_(None) & Delivery.parked_at.is_(None)
IS_PARKED: Final = Delivery.parked_at.is_not(None) & Delivery.delivered_at.is_(None)
# The namespace of our ids; any fixed UUID would do.
_NAMESPACE: Final = uuid.UUID("0d6a3e0c-5b4e-5d0b-8f0a-6b8f7c2d9e41")
# The first half of the keys of advisory locks; any fixed number would do.
_TURN: Final = 0x73696E6B


@dataclass(frozen=True, slots=True)
class SinkState:
    """How things are with a sink.

    Attributes:
        configured: whether the settings have it; what waits for one that they have not is kept.
        waiting, oldest_at: number of deliveries that wait, and since when the oldest of them does.
        next_try_at: when it is tried again; None: with the next pass.
        parked: number of deliveries it refused.
        answer: its answer to what waits, else to what it refused last; "" if there is none.
    """

    name: str
    configured: bool
    waiting: int = 0
    oldest_at: datetime | None = None
    next_try_at: datetime | None = None
    parked: int = 0
    answer: str = ""


def identity_of(run: Run, *words: str) -> uuid.UUID:
    """Return an id made of a run and of words. Two pipelines that fill one sink never make the same one."""
    return uuid.uuid5(_NAMESPACE, " ".join([run.dag_id, run.run_id, run.created_at.isoformat(), *words]))


def add(  # noqa: PLR0913 - the columns of a delivery, keyword-only
    session: Session,
    *,
    sink: str,
    run: Run,
    result: StageResult | None,
    key: str,
    event: str,
    status: str,
    at: datetime,
) -> Delivery | None:
    """Store what a sink is to be told, once.

    Args:
        session: the transaction that makes it true.
        sink: name of the sink.
        run: the run it happened in.
        result: the try it is about, if there is one.
        key: what happened, in words that are the same however often they are said.
        event: `package.complete`.
        status: of what happened.
        at: when it happened.

    Returns:
        The new row, or None when it had been stored before.
    """
    identity = identity_of(run, sink, key)
    if session.get(Delivery, identity) is not None:
        return None
    row = Delivery(id=identity, sink=sink, run_id=run.id, result_id=result.id if result else None, event=event, at=at)
    row.status = status
    session.add(row)
    session.flush()
    return row


@contextmanager
def turn(sink: str) -> Iterator[bool]:
    """Take the turn at a sink: two at once could break its order. False when another has it."""
    with database.session() as session:
        yield bool(session.scalar(select(func.pg_try_advisory_xact_lock(_TURN, func.hashtext(sink)))))


def due(session: Session, sink: str, *, limit: int, now: datetime | None) -> list[Delivery]:
    """Return what is to be delivered to a sink now, the oldest first, up to the first that has to wait.

    Args:
        session: an open transaction.
        sink: name of the sink.
        limit: at most so many.
        now: None: whether it has to wait or not.
    """
    oldest = select(Delivery).where(Delivery.sink == sink, IS_PENDING).order_by(Delivery.sequence).limit(limit)
    rows = session.scalars(oldest)
    return list(itertools.takewhile(lambda row: now is None or not row.next_try_at or row.next_try_at <= now, rows))


def waiting(session: Session, sink: str) -> int:
    """Return how many deliveries wait for a sink."""
    return session.scalar(select(func.count()).where(Delivery.sink == sink, IS_PENDING)) or 0


def states(session: Session, configured: Iterable[str]) -> list[SinkState]:
    """Return how things are with every sink that is configured, or that something waits for or is parked of."""
    known = dict.fromkeys(configured, True)
    pending, parked = _pending(session), _parked(session)
    return [
        SinkState(
            name=name,
            configured=name in known,
            **pending.get(name, {}),
            parked=parked.get(name, 0),
            answer=_answer(session, name),
        )
        for name in [*known, *sorted({*pending, *parked} - set(known))]
    ]


def release(row: Delivery) -> None:
    """Let a parked delivery go out with the next pass."""
    row.parked_at = row.next_try_at = None
    row.failures = 0


def _pending(session: Session) -> dict[str, dict[str, Any]]:
    columns = (func.count(), func.min(Delivery.created_at), func.max(Delivery.next_try_at))
    rows = session.execute(select(Delivery.sink, *columns).where(IS_PENDING).group_by(Delivery.sink))
    return {sink: {"waiting": count, "oldest_at": oldest, "next_try_at": then} for sink, count, oldest, then in rows}


def _parked(session: Session) -> dict[str, int]:
    count = func.count().label("parked")
    rows = session.execute(select(Delivery.sink, count).where(IS_PARKED).group_by(Delivery.sink))
    return {row.sink: row.parked for row in rows}


def _answer(session: Session, sink: str) -> str:
    of_sink = select(Delivery.answer).where(Delivery.sink == sink, Delivery.answer != "").limit(1)
    waits = session.scalar(of_sink.where(IS_PENDING).order_by(Delivery.sequence))
    return waits or session.scalar(of_sink.where(IS_PARKED).order_by(Delivery.parked_at.desc())) or ""
