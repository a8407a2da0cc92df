"""The outbox: said once, in order per run, and never lost."""

import threading

import pytest

from ci_pipeline import store
from ci_pipeline.errors import BusUnreachable, MessageRejected
from ci_pipeline.store import outbox
from ci_pipeline.store.tables import Outbox
from tests.buses import publish_by
from tests.makers import new_run

pytestmark = pytest.mark.usefixtures("database")


def say(*words: str, run: int | None = None) -> None:
    """Store messages."""
    with store.session() as session:
        for word in words:
            outbox.add(session, outbox.Saying(key=word, event=word, topic=word, body={"word": word}, run=run))


def stored() -> list[Outbox]:
    """Return all messages, in order."""
    with store.session() as session:
        return outbox.messages(session)


def test_saying_it_twice_is_saying_it_once() -> None:
    """The id is made of what is said."""
    say("a", "b", "a")
    say("b")

    assert [row.event for row in stored()] == ["a", "b"]


def test_pending_messages_go_out_in_order_and_once() -> None:
    """Publishing again finds nothing to do."""
    say("a", "b", "c")
    heard: list[str] = []
    first = publish_by(lambda row: heard.append(row.event))
    second = publish_by(lambda row: heard.append(row.event))

    assert (first, second, heard) == (3, 0, ["a", "b", "c"])
    assert all(row.published_at for row in stored())


def test_a_bus_that_goes_away_keeps_the_rest_in_order() -> None:
    """What was confirmed stays published; what was not goes out later, after it."""
    say("a", "b", "c")
    heard: list[str] = []

    def publish(row: Outbox) -> None:
        if row.event == "b" and len(heard) == 1:
            heard.append("away")
            raise BusUnreachable
        heard.append(row.event)

    with pytest.raises(BusUnreachable):
        publish_by(publish)
    publish_by(publish)

    assert heard == ["a", "away", "b", "c"]


def test_a_refused_message_is_parked_with_the_reason_and_stops_nothing() -> None:
    """An operator finds it; it is not tried again by itself."""
    say("a", "b")

    def publish(row: Outbox) -> None:
        if row.event == "a":
            raise MessageRejected("not allowed on this topic")

    publish_by(publish)
    refused, accepted = stored()
    with store.session() as session:
        waiting, parked = outbox.pending(session)

    assert refused.parked_at
    assert refused.error == "not allowed on this topic"
    assert accepted.published_at
    assert (waiting, parked) == (0, 1)


def test_only_the_wanted_runs_are_published() -> None:
    """A stage publishes its own run's messages, and is not held up by others."""
    mine, other = new_run().id, new_run(rev="1" * 40).id
    say("mine", run=mine)
    say("other", run=other)
    heard: list[str] = []
    publish_by(lambda row: heard.append(row.event), runs=[mine])

    assert heard == ["mine"]


def test_publishers_at_the_same_time_say_everything_once_and_in_order() -> None:
    """The callbacks of several tasks publish at once."""
    words = [f"{n:03}" for n in range(60)]
    say(*words)
    heard: list[str] = []
    start = threading.Barrier(3)

    def publish() -> None:
        start.wait()
        publish_by(lambda row: heard.append(row.event))

    threads = [threading.Thread(target=publish) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert heard == words
