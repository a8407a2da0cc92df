"""Many rows at once: as they are given, in their order."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import Table, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ci_pipeline import store
from ci_pipeline.store import bulk
from ci_pipeline.store.tables import Outbox

pytestmark = pytest.mark.usefixtures("database")

Insert = Callable[..., None]


def row(**fields: Any) -> dict[str, Any]:
    """Return a row of the outbox."""
    return {"id": uuid.uuid4(), "event": "e", "topic": "t", "body": {}, "run_id": None, "withheld": False, **fields}


def insert_all(session: Session, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that are given by the names of their columns, as the other one takes them."""
    bulk.insert_all(session, table, list(row()), [list(one.values()) for one in rows])


def insert(*rows: dict[str, Any], by: Insert = insert_all) -> list[dict[str, Any]]:
    """Insert rows; return all there are then, in the order they got their numbers."""
    with store.session() as session:
        by(session, Outbox.__table__, rows)
        found = list(session.scalars(select(Outbox).order_by(Outbox.sequence)))
    return [{name: getattr(one, name) for name in row()} for one in found]


@pytest.mark.parametrize(
    "text", ["", "NULL", "{}", '"', "\\", "'; --", "a,b", "\t\n\r", "é\u2028\U0001f600", "%s %(x)s :y"]
)
def test_whatever_is_written_is_read(text: str) -> None:
    """Nothing in a value is taken for a part of the statement, or of an array."""
    given = [row(topic=text, body={text or "k": [text, None, 1.5, True]}), row(topic=text)]

    assert insert(*given) == given


def test_many_stay_in_their_order() -> None:
    """The database counts them as they come."""
    given = [row(topic=str(number)) for number in range(500)]

    assert insert(*given) == given


@pytest.mark.parametrize("by", [insert_all, bulk.insert_new])
def test_none_is_nothing(by: Insert) -> None:
    """A batch in which nothing is to be said."""
    assert insert(by=by) == []


def test_nothing_is_dropped_in_silence() -> None:
    """A row that cannot be there twice fails the transaction, and with it the batch: that comes again."""
    first = row()
    insert(first)
    with pytest.raises(IntegrityError):
        insert(row(), first)

    assert insert() == [first]


def test_what_is_said_already_stays_as_it_is() -> None:
    """Whether it was said before, or comes twice."""
    first = row(topic="first")
    insert(first)
    second = row(topic="second")
    again = [{**one, "topic": "again"} for one in (first, second)]

    assert insert(again[0], second, again[1], by=bulk.insert_new) == [first, second]
