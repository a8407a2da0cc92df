"""Thousands of messages, most of them hostile: each is one row with a decision and a reason, good ones get through."""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Final

import pika
import pytest
from hypothesis import given
from sqlalchemy import func, select

from ci_pipeline import dead_letters, store
from ci_pipeline.errors import StoreError
from ci_pipeline.intake import Intake
from ci_pipeline.settings import Settings
from ci_pipeline.store.ledger import Received
from ci_pipeline.store.tables import Inbound
from sensors.git_receive_trigger import GitReceiveTrigger
from tests.bus import raw
from tests.fuzz.conftest import Amount
from tests.fuzz.ledger import Ledger
from tests.fuzz.messages import AT_A_TIME, Batch, Message, batches
from tests.makers import change, pushed

pytestmark = pytest.mark.usefixtures("database", "lines")

# Seconds: what the broker has is taken up in small batches.
LISTENED: Final = 5
REPLAYED: Final = 50
MANY: Final = 10 * 1024 * 1024


def count_of_rows() -> int:
    """Return how many messages the ledger has."""
    with store.session() as session:
        return session.scalar(select(func.count()).select_from(Inbound)) or 0


def as_received(message: Message) -> Received:
    """Return a message as it comes off the bus."""
    return Received(message.topic.decode(errors="replace"), "m-1", message.raw)


@pytest.mark.timeout(0)
def test_ten_thousand_messages_are_each_decided_on_once(current: Settings, amount: Amount) -> None:
    """None crashes the intake, is lost or counted twice; nothing invalid gets into a run, a path or a line of a log."""
    ledger, intake = Ledger(current), Intake(current, trigger_run_id="fuzz")

    @amount.settings(amount.messages // AT_A_TIME + 1)
    @given(batches(with_properties=False))
    def take_up(batch: Batch) -> None:
        intake.record([as_received(message) for message in batch.messages])
        ledger.check(batch.messages)

    take_up()

    assert ledger.sent >= amount.messages
    assert count_of_rows() == ledger.sent
    # All kinds came up, or the strategies have become blunt.
    assert min(ledger.states[state] for state in ("queued", "superseded", "ignored", "dead")) >= ledger.sent // 200

    replay(current)


def replay(current: Settings) -> None:
    """Replay dead letters: what could not be read once is as unreadable as it was, and says so."""
    with store.session() as session:
        letters = dead_letters.listed(session, limit=REPLAYED)
    for letter in letters:
        try:
            told = dead_letters.replay(current, letter.id)
        except StoreError as error:
            told = str(error)

        assert f"message {letter.id} " in told
        assert told.isprintable()


@pytest.fixture
def channel(
    current: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    """A channel of an independent client; the trigger listens to a queue of the test's own."""
    monkeypatch.setenv("CI_PIPELINE_BUS__QUEUE", "test-fuzz")
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__CATCH_UP", "false")
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(current.bus.url.get_secret_value()))) as bus:
        made = bus.channel()
        made.queue_declare("test-fuzz", durable=True)
        made.queue_bind("test-fuzz", "amq.topic", "*.*.*.git.receive")
        yield made
        made.queue_delete("test-fuzz")


def publish(channel: pika.adapters.blocking_connection.BlockingChannel, messages: Sequence[Message]) -> None:
    """Publish messages; the broker has taken them when this returns."""
    for message in messages:
        raw.publish(channel, message.topic, message.raw, message.properties)
    channel.queue_declare("test-fuzz", passive=True)


def listen(channel: pika.adapters.blocking_connection.BlockingChannel, messages: int) -> None:
    """Let the trigger listen until it has taken up so many messages, and nothing is left."""

    async def take_up() -> int:
        async for event in GitReceiveTrigger(trigger_run_id="fuzz", rotate_after=LISTENED).run():
            return int(event.payload["messages"])
        raise AssertionError("the trigger ended without an event")

    taken = newly = asyncio.run(take_up())
    while newly and taken < messages:
        newly = asyncio.run(take_up())
        taken += newly

    assert taken == messages
    assert channel.queue_declare("test-fuzz", passive=True).method.message_count == 0


@pytest.mark.timeout(0)
def test_messages_of_any_bytes_come_off_the_bus_once(
    current: Settings, amount: Amount, channel: pika.adapters.blocking_connection.BlockingChannel
) -> None:
    """Whatever stands in properties, headers and topics: as many are taken up as were sent, in their order."""
    ledger = Ledger(current)
    waiting: list[Message] = []

    @amount.settings(amount.messages // AT_A_TIME // 20 + 1)
    @given(batches(with_properties=True))
    def send(batch: Batch) -> None:
        publish(channel, batch.messages)
        waiting.extend(batch.messages)

    send()
    listen(channel, len(waiting))
    ledger.check(waiting)

    assert ledger.sent >= amount.messages // 20
    assert count_of_rows() == ledger.sent


def test_what_is_too_long_is_a_dead_letter_of_which_a_part_is_kept(
    current: Settings, channel: pika.adapters.blocking_connection.BlockingChannel
) -> None:
    """And what is merely long is read: the sensor comes through, and so does the push behind it."""
    ledger = Ledger(current)
    long = json.loads(pushed(rev="1" * 40).raw)
    long["commit"]["patch"] = "a" * 1_000_000
    messages = [
        Message(b'{"commit": "' + b"a" * MANY + b'"}'),
        Message(b"[" * MANY),
        Message(b"\xff" * MANY),
        Message(b'{"commit": ' + b"9" * 1_000_000 + b"}"),
        Message(b'{"a":' * 200_000),
        Message(json.dumps({str(number): number for number in range(70_000)}).encode()),
        Message(json.dumps(long).encode(), change(rev="1" * 40)),
        Message(pushed(rev="2" * 40).raw, change(rev="2" * 40)),
    ]
    publish(channel, messages)
    listen(channel, len(messages))
    ledger.check(messages)

    assert ledger.states == {"dead": 6, "superseded": 1, "queued": 1}
