"""Whatever a publisher puts into a message's properties, the message arrives, once, and those after it."""

import asyncio
import contextlib
import struct
from typing import Final

import pytest

from ci_pipeline.bus.consumer import Consumer, Delivery
from tests.bus import raw
from tests.bus.broker import Broker
from tests.bus.raw import Properties, nested, short, table

TOPIC: Final = b"org.example.test.git.receive"
_TOO_LATE: Final = struct.pack(">Q", 2**63)
_KNOWN: Final = {"message_id": short(b"m-1")}


def _sent_and_received(broker: Broker, queue: str, *sent: tuple[bytes, bytes, Properties]) -> list[Delivery]:
    """Publish, consume and acknowledge messages until all are there or the connection is lost."""

    async def receive() -> list[Delivery]:
        got: list[Delivery] = []
        async with asyncio.timeout(60), Consumer(broker.url, "amq.topic", queue, ["#"]) as consumer:
            await asyncio.to_thread(publish)
            async for batch in consumer.batches(max_wait=60):
                got += batch.deliveries
                await consumer.ack(batch)
                if batch.reconnected or len(got) >= len(sent):
                    return got
        raise AssertionError("the consumer ended by itself")

    def publish() -> None:
        with contextlib.closing(broker.connect()) as connection:
            channel = connection.channel()
            for topic, body, properties in sent:
                raw.publish(channel, topic, body, properties)
            raw.settled(connection)

    return asyncio.run(receive())


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param({"headers": table(short(b"at") + b"T" + _TOO_LATE)}, id="a time beyond all years"),
        pytest.param({"headers": nested(5000)}, id="headers in headers"),
    ],
)
def test_properties_that_cannot_be_read_are_passed_over(
    broker: Broker, queue_name: str, hostile: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """They end no connection, or the message would come again, and end the next one: nobody would hear of a push."""
    bad, good = _sent_and_received(
        broker, queue_name, (TOPIC, b"bad", Properties(_KNOWN | hostile)), (TOPIC, b"good", Properties(_KNOWN))
    )

    assert (bad.raw, bad.message_id, bad.user_id, dict(bad.headers)) == (b"bad", "", "", {})
    assert (good.raw, good.message_id) == (b"good", "m-1")
    assert "properties cannot be read and are passed over" in caplog.text


def test_text_that_is_not_utf_8_is_read_as_far_as_it_is(broker: Broker, queue_name: str) -> None:
    """In a topic, too: that is no property, and not in a message we could do without."""
    properties = Properties({"content_type": short(b"\xfe"), "message_id": short(b"m\xff1")})
    [got] = _sent_and_received(broker, queue_name, (b"org.\xff.test.git.receive", b"body", properties))

    assert (got.topic, got.message_id, got.raw) == ("org.\ufffd.test.git.receive", "m\ufffd1", b"body")


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"timestamp": _TOO_LATE}, id="a time beyond all years"),
        pytest.param({"headers": table(short(b"\xff") + b"S" + table(b"x"))}, id="a header whose name is not UTF-8"),
    ],
)
def test_properties_that_make_no_sense_cost_nothing(broker: Broker, queue_name: str, odd: dict[str, bytes]) -> None:
    """Nobody asks what they mean. What else there is of the message is read."""
    [got] = _sent_and_received(broker, queue_name, (TOPIC, b"body", Properties(_KNOWN | odd)))

    assert (got.topic, got.raw, got.message_id) == (TOPIC.decode(), b"body", "m-1")
