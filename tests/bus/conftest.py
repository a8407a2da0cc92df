"""A private broker for the tests of the bus, and queues that are gone after each test."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika
import pytest

from tests.bus.broker import Broker

Arrived = Callable[[], list[tuple[Any, Any, bytes]]]  # pika's method and properties, and the body


@pytest.fixture(scope="session")
def _node() -> Iterator[Broker]:
    """One node for all tests of the session."""
    # Not under pytest's tmp_path: the broker's sockets want a short path, and nothing is to be left behind.
    node = Broker(Path(tempfile.mkdtemp(prefix="rabbitmq-")))
    try:
        node.start()
        yield node
    finally:
        node.stop()


@pytest.fixture
def broker(_node: Broker) -> Broker:
    """A running broker, also if the test before has killed it."""
    _node.resume()
    _node.start()
    return _node


@pytest.fixture
def queue_name(broker: Broker) -> Iterator[str]:
    """The name of a queue that does not exist, and does not exist afterwards."""
    name = f"test-{uuid4()}"
    yield name
    broker.resume()
    broker.start()
    with contextlib.closing(broker.connect()) as connection:
        connection.channel().queue_delete(name)


@pytest.fixture
def listen(broker: Broker) -> Iterator[Callable[[str], Arrived]]:
    """`listen(topic)` binds a queue of an independent client; what it returns gives all that has arrived since."""
    connection = broker.connect()
    channel = connection.channel()

    def bind(topic: str) -> Arrived:
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, "amq.topic", topic)

        def arrived() -> list[tuple[Any, Any, bytes]]:
            return list(iter(lambda: channel.basic_get(queue, auto_ack=True), (None, None, None)))

        return arrived

    yield bind
    with contextlib.suppress(pika.exceptions.AMQPError):
        connection.close()
