"""The ledger page by page, and what has not gone out."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from ci_pipeline import decisions
from ci_pipeline.settings import Settings
from ci_pipeline.store import outbox, unannounced
from ci_pipeline.store.tables import Inbound, Outbox, Run

PAGE: Final = 50
MOST_WAITING: Final = 20
STATES: Final = ("queued", "ignored", "duplicate", "superseded", "dead")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; "" and 0 are any. `package` is a whole name; `before` a message's number."""

    state: str = ""
    package: str = ""
    before: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the ledger without its body, and the run it led to: `f26/464`, or ""."""

    message: Inbound
    run: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """A page of the ledger, the newest first. `older` is where the next page begins; 0 on the last."""

    entries: tuple[Entry, ...]
    older: int


def ledger(session: Session, wanted: Wanted) -> Ledger:
    """Return a page of the ledger."""
    query = select(Inbound, Run.branch, Run.number).options(defer(Inbound.body)).outerjoin(Run, Run.id == Inbound.run)
    if wanted.state:
        query = query.where(Inbound.state == wanted.state)
    if wanted.package:
        query = query.where(Inbound.repo == wanted.package)
    if wanted.before:
        query = query.where(Inbound.id < wanted.before)
    rows = session.execute(query.order_by(Inbound.id.desc()).limit(PAGE + 1)).all()
    shown = tuple(Entry(row, f"{branch}/{number}" if branch else "") for row, branch, number in rows[:PAGE])
    return Ledger(shown, shown[-1].message.id if len(rows) > PAGE else 0)


def waiting(session: Session, settings: Settings) -> tuple[list[Outbox], int]:
    """Return the oldest messages that wait to be published, without their bodies, and how many wait in all.

    What is ignored comes after the rest, as it does when it is published.
    """
    pending = select(Outbox).options(defer(Outbox.body)).where(outbox.IS_PENDING)
    oldest = session.scalars(pending.order_by(Outbox.sequence).limit(MOST_WAITING)).all()
    room = MOST_WAITING - len(oldest)
    ignored = decisions.ignored(settings, unannounced.waiting(session, limit=room)) if room else []
    return [*oldest, *ignored], outbox.pending(session)[0]
