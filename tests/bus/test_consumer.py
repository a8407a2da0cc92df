"""Consuming from a real broker, fed by an independent client."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterable

import pika
import pytest

from ci_pipeline.bus.consumer import Batch, Consumer
from ci_pipeline.errors import BusUnreachable
from tests.bus.broker import OTHER, USER, Broker

TOPIC = "org.example.test.git.receive"


def _send(broker: Broker, bodies: Iterable[bytes]) -> None:
    properties = pika.BasicProperties(message_id="m-1", headers={"h": 1}, delivery_mode=2)
    with contextlib.closing(broker.connect()) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for body in bodies:
            channel.basic_publish("amq.topic", TOPIC, body, properties)


def _waiting(broker: Broker, queue: str) -> int:
    """Return how many messages are in the queue that no consumer holds."""
    with contextlib.closing(broker.connect()) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


def _numbers(count: int) -> list[bytes]:
    return [str(number).encode() for number in range(count)]


def _raws(batch: Batch) -> list[bytes]:
    return [delivery.raw for delivery in batch.deliveries]


def _run(broker: Broker, queue: str, scenario: Callable[[Consumer], Awaitable[None]], prefetch: int = 200) -> None:
    async def connected() -> None:
        async with asyncio.timeout(120), Consumer(broker.url, "amq.topic", queue, [TOPIC], prefetch) as consumer:
            await scenario(consumer)

    asyncio.run(connected())


async def _collect(consumer: Consumer, count: int, *, ack: bool = True) -> list[bytes]:
    """Return what arrives, batch by batch, until there are `count` messages."""
    raws: list[bytes] = []
    async for batch in consumer.batches(max_size=7, max_wait=60):
        raws += _raws(batch)
        if ack:
            await consumer.ack(batch)
        if len(raws) >= count:
            break
    return raws


def test_a_broker_that_is_away_at_the_start_is_said_at_once() -> None:
    """A wrong address must not look like a quiet bus."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"amqp://127.0.0.1:{taken.getsockname()[1]}/"

    async def enter() -> None:
        async with Consumer(url, "amq.topic", "q", ["#"]):
            pytest.fail("connected to nothing")

    with pytest.raises(BusUnreachable, match="is not reachable"):
        asyncio.run(enter())


def test_a_quiet_bus_yields_empty_batches(broker: Broker, queue_name: str) -> None:
    """So that the caller can look up; acknowledging nothing is fine."""

    async def scenario(consumer: Consumer) -> None:
        batch = await anext(consumer.batches(max_wait=0.05))
        await consumer.ack(batch)

        assert batch == Batch()

    _run(broker, queue_name, scenario)


def test_a_delivery_is_the_message_as_it_came(broker: Broker, queue_name: str) -> None:
    """Bytes that are no JSON too: judging them is not the consumer's business."""

    async def scenario(consumer: Consumer) -> None:
        await asyncio.to_thread(_send, broker, [b"\xff not json"])
        [delivery] = (await anext(consumer.batches(max_wait=10))).deliveries

        assert (delivery.topic, delivery.message_id, delivery.raw) == (TOPIC, "m-1", b"\xff not json")
        assert (dict(delivery.headers), delivery.delivery_tag) == ({"h": 1}, 1)

    _run(broker, queue_name, scenario)


def test_one_message_is_not_kept_waiting_for_others(broker: Broker, queue_name: str) -> None:
    """A batch is what is there, not what might come: long before `max_wait`."""

    async def scenario(consumer: Consumer) -> None:
        batches = consumer.batches(max_size=100, max_wait=60)
        await asyncio.to_thread(_send, broker, [b"only"])
        started = time.monotonic()
        batch = await anext(batches)

        assert _raws(batch) == [b"only"]
        assert time.monotonic() - started < 5

    _run(broker, queue_name, scenario)


def test_everything_arrives_once_in_order_and_in_bounds(broker: Broker, queue_name: str) -> None:
    """More messages than the prefetch and the batch hold; acknowledged, they are gone."""
    sizes: list[int] = []

    async def scenario(consumer: Consumer) -> None:
        await asyncio.to_thread(_send, broker, _numbers(100))
        raws: list[bytes] = []
        async for batch in consumer.batches(max_size=7, max_wait=60):
            sizes.append(len(batch.deliveries))
            raws += _raws(batch)
            await consumer.ack(batch)
            if len(raws) >= 100:
                break

        assert raws == _numbers(100)

    _run(broker, queue_name, scenario, prefetch=20)

    assert max(sizes) <= 7
    assert _waiting(broker, queue_name) == 0


def test_what_was_not_acknowledged_comes_again(broker: Broker, queue_name: str) -> None:
    """To the next consumer: nothing is lost with a process."""

    async def forgetful(consumer: Consumer) -> None:
        await asyncio.to_thread(_send, broker, _numbers(5))
        first = await anext(consumer.batches(max_size=1, max_wait=10))
        await consumer.ack(first)
        await anext(consumer.batches(max_size=1, max_wait=10))

    async def careful(consumer: Consumer) -> None:
        assert await _collect(consumer, 4) == _numbers(5)[1:]

    _run(broker, queue_name, forgetful)
    _run(broker, queue_name, careful)


def test_a_consumer_outlives_the_broker(broker: Broker, queue_name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Killed and started again: what was unacknowledged and what is new both arrive, and the log tells."""
    caplog.set_level(logging.INFO, "ci_pipeline.bus.consumer")

    async def scenario(consumer: Consumer) -> None:
        await asyncio.to_thread(_send, broker, [b"before"])
        held = await anext(consumer.batches(max_wait=10))
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)
        reader = asyncio.create_task(_collect(consumer, 2))
        await asyncio.to_thread(_send, broker, [b"after"])

        assert _raws(held) == [b"before"]
        assert sorted(await reader) == [b"after", b"before"]

    _run(broker, queue_name, scenario)

    assert "was lost" in caplog.text
    assert "Connected to the broker" in caplog.text
    assert _waiting(broker, queue_name) == 0


def test_acknowledging_over_a_lost_connection_acknowledges_nothing(broker: Broker, queue_name: str) -> None:
    """The new connection counts its messages from one again: an old batch must not take a new message with it."""

    async def scenario(consumer: Consumer) -> None:
        await asyncio.to_thread(_send, broker, _numbers(3))
        old = await anext(consumer.batches(max_wait=10))
        if len(old.deliveries) < 3:  # the rest may arrive in the old connection as well
            await _collect(consumer, 3 - len(old.deliveries), ack=False)
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)
        again = await _collect(consumer, 3, ack=False)
        await consumer.ack(old)

        assert again == _numbers(3)

    _run(broker, queue_name, scenario)

    assert _waiting(broker, queue_name) == 3


def test_a_deleted_queue_is_declared_again(broker: Broker, queue_name: str) -> None:
    """The broker cancels the consumer and leaves the connection open: that must not look like a quiet bus."""

    def delete() -> None:
        with contextlib.closing(broker.connect()) as connection:
            connection.channel().queue_delete(queue_name)

    async def scenario(consumer: Consumer) -> None:
        await asyncio.to_thread(delete)
        empty = await anext(consumer.batches(max_wait=60))
        await asyncio.to_thread(_send, broker, [b"after"])

        assert empty == Batch(reconnected=True)
        assert await _collect(consumer, 1) == [b"after"]

    _run(broker, queue_name, scenario)


def test_who_sent_a_message_is_what_the_broker_has_checked(broker: Broker, queue_name: str) -> None:
    """An account cannot pass as another one: the broker refuses the message. One that does not say so is nobody's."""

    async def scenario(consumer: Consumer) -> None:
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="user_id property set to 'ci'"):
            _send_as(broker, OTHER, USER)
        _send_as(broker, OTHER, OTHER)
        _send_as(broker, USER, USER)
        _send_as(broker, USER, None)
        seen: list[str] = []
        async for batch in consumer.batches(max_wait=60):
            seen += [delivery.user_id for delivery in batch.deliveries]
            if len(seen) >= 3:
                break

        assert seen == [OTHER, USER, ""]

    _run(broker, queue_name, scenario)


def _send_as(broker: Broker, account: str, user_id: str | None) -> None:
    parameters = pika.URLParameters(broker.url_of(account))
    with contextlib.closing(pika.BlockingConnection(parameters)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("amq.topic", TOPIC, b"{}", pika.BasicProperties(user_id=user_id))
