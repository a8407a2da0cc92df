"""A batch is what its messages are one by one: the same rows, runs, announcements, whatever comes together."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from ci_pipeline import settings as configured
from ci_pipeline import store
from ci_pipeline.intake import Intake
from ci_pipeline.store.ledger import Received
from ci_pipeline.store.storm_tables import Storm
from ci_pipeline.store.tables import Inbound, Revision, Run
from tests.buses import all_said
from tests.database import empty
from tests.makers import pushed, received
from tests.store.ledger_messages import MESSAGES
from tests.storm import push_of, stormy

pytestmark = pytest.mark.usefixtures("database")

REFUSED = Received("a.topic", "m-9", b"whatever", ignore_reason="its sender is not trusted")
# Whoever pushes very much is in it, too: the eleventh change of an account waits for its turn.
PUSHES = st.builds(push_of, st.sampled_from(["greeter", "package-1", "package-2"]), name=st.sampled_from("123456"))
BATCHES = st.lists(MESSAGES.map(lambda sent: sent.received) | PUSHES | st.just(REFUSED), min_size=2, max_size=12)


def taken_up(*batches: list[Received]) -> dict[str, Any]:
    """Let batches be taken up on an empty database; return all there is then, but for times."""
    taker = Intake(stormy(configured.current(), changes=3), trigger_run_id="x")
    for batch in batches:
        taker.record(batch)
    try:
        return {"ledger": rows_of(Inbound), "runs": rows_of(Run), "storms": rows_of(Storm), **said()}
    finally:
        empty()


def rows_of(table: type) -> list[dict[str, Any]]:
    """Return the rows of a table, but for times."""
    with store.session() as session:
        rows = session.scalars(select(table).order_by(table.id)).all()
    return [
        {key: value for key, value in vars(row).items() if not key.startswith("_") and key[-3:] != "_at"}
        for row in rows
    ]


def said() -> dict[str, Any]:
    """Return what is said: of each run in its order, and all else; and what is known of revisions."""
    rows = all_said()
    with store.session() as session:
        known = {(one.repo, one.rev, one.branch) for one in session.scalars(select(Revision))}
    of_runs: dict[int | None, list[Any]] = {}
    for row in rows:
        of_runs.setdefault(row.run_id, []).append((row.id, row.event, row.topic, row.body, row.inbound_id))
    return {"said": {run: sorted(told) if run is None else told for run, told in of_runs.items()}, "known": known}


@given(BATCHES)
@settings(max_examples=15)
def test_a_batch_is_what_its_messages_are_one_by_one(batch: list[Received]) -> None:
    """Duplicates, supersedings, dead letters, refused senders and storms, within a batch and beyond it."""
    at_once = taken_up(batch)

    assert at_once == taken_up(*([message] for message in batch))
    assert at_once == taken_up(batch[:2], batch[2:])


def test_of_three_pushes_of_a_package_in_a_batch_the_last_is_run() -> None:
    """Each of the others is queued, and ended, before the next one is: in the words of its own messages."""
    taken = taken_up([pushed(rev=f"{number}" * 40) for number in (1, 2, 3)])
    heard = [[event for _, event, *_ in told] for told in taken["said"].values()]

    assert [row["state"] for row in taken["ledger"]] == ["superseded", "superseded", "queued"]
    assert heard == [["package.queued", "complete"]] * 2 + [["package.queued"]]


def test_what_comes_twice_in_a_batch_names_the_first_of_it() -> None:
    """Its number is known before any of them is in the database."""
    taken = taken_up([received(b"{"), pushed(), pushed("polari"), pushed()])

    assert [row["state"] for row in taken["ledger"]] == ["dead", "queued", "ignored", "duplicate"]
    assert taken["ledger"][3]["reason"] == "the same change was queued by message 2"
    assert taken["ledger"][3]["run"] == taken["ledger"][1]["run"]


def test_the_numbers_of_rows_are_in_the_order_of_messages() -> None:
    """However many they are: what came first is the older one."""
    taken = taken_up([pushed(f"p{number}") for number in range(300)])

    assert [(row["id"], row["repo"]) for row in taken["ledger"]] == [(n + 1, f"p{n}") for n in range(300)]
    assert taken["ledger"][0]["reason"] == "package p0 is not watched (packages.monitored)"
    assert len(taken["said"][None]) == 300
