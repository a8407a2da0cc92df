"""Many rows at once: as they are given, in their order."""

import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from ci_pipeline import store
from ci_pipeline.errors import DatabaseUnreachable
from ci_pipeline.store import bulk
from ci_pipeline.store.tables import Inbound, Outbox

pytestmark = pytest.mark.usefixtures("database")

TEXTS = ["", "NULL", "{}", '"', "\\", "'; --", "a,b", "\t\n\r", "\n\\.\n", "\\N", "é\u2028\U0001f600", "%s %(x)s :y"]
# Of the ledger: a text, a text that may be missing, and a number that may be.
NAMES = ("topic", "repo", "run", "message_id", "digest", "body", "state")


def entry(topic: str = "t", repo: str | None = None) -> tuple[Any, ...]:
    """Return a row of the ledger."""
    return (topic, repo, None, "m", "d", "{}", "ignored")


def copy(*rows: tuple[Any, ...], names: Sequence[str] = NAMES) -> list[tuple[Any, ...]]:
    """Insert rows of the ledger; return all there are then, in the order they got their numbers."""
    with store.session() as session:
        bulk.insert_all(session, Inbound.__table__, names, rows)
        found = session.scalars(select(Inbound).order_by(Inbound.id)).all()
    return [tuple(getattr(one, name) for name in NAMES) for one in found]


def copy_and_be_cut_off() -> None:
    """Insert a row on a connection that the server has closed meanwhile."""
    with store.session() as session:
        own = session.scalar(select(func.pg_backend_pid()))
        with store.session() as other:
            other.execute(select(func.pg_terminate_backend(own, 10_000)))
        bulk.insert_all(session, Inbound.__table__, NAMES, [entry()])


def row(**fields: Any) -> dict[str, Any]:
    """Return a row of the outbox."""
    return {"id": uuid.uuid4(), "event": "e", "topic": "t", "body": {}, "run_id": None, "withheld": False, **fields}


def insert(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Insert rows of the outbox; return all there are then, in the order they got their numbers."""
    with store.session() as session:
        bulk.insert_new(session, Outbox.__table__, rows)
        found = list(session.scalars(select(Outbox).order_by(Outbox.sequence)))
    return [{name: getattr(one, name) for name in row()} for one in found]


@pytest.mark.parametrize("text", TEXTS)
def test_whatever_is_written_is_read(text: str) -> None:
    """Nothing in a value is taken for a part of the statement, of an array, or of the form rows are sent in."""
    given = [row(topic=text, body={text or "k": [text, None, 1.5, True]}), row(topic=text)]
    entries = [entry(text, text or None), entry(text), entry("behind")]

    assert insert(*given) == given
    assert copy(*entries) == entries


def test_many_stay_in_their_order() -> None:
    """The database counts them as they come."""
    given = [row(topic=str(number)) for number in range(500)]
    entries = [entry(str(number)) for number in range(500)]

    assert insert(*given) == given
    assert copy(*entries) == entries


def test_none_is_nothing() -> None:
    """A batch in which nothing is to be said."""
    assert insert() == []
    assert copy() == []


def test_nothing_is_dropped_in_silence() -> None:
    """A row that cannot be there twice fails the transaction, and with it the batch: that comes again."""
    names = ("id", *NAMES)
    first = (7, *entry("first"))
    copy(first, names=names)
    with pytest.raises(IntegrityError):
        copy((8, *entry()), first, names=names)

    assert copy() == [entry("first")]


def test_a_database_that_goes_away_is_told_as_ever() -> None:
    """Whoever waits until it is back knows that error."""
    with pytest.raises(DatabaseUnreachable):
        copy_and_be_cut_off()

    assert copy(entry()) == [entry()]


def test_what_is_said_already_stays_as_it_is() -> None:
    """Whether it was said before, or comes twice."""
    first = row(topic="first")
    insert(first)
    second = row(topic="second")
    again = [{**one, "topic": "again"} for one in (first, second)]

    assert insert(again[0], second, again[1]) == [first, second]
