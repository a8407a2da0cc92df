"""The queue and its bindings on a real broker."""

import contextlib
import socket

import pytest

from ci_pipeline.bus import topology
from ci_pipeline.errors import BusUnreachable, SettingsError
from tests.bus.broker import LIMITED, Broker


def _publish_and_get(broker: Broker, topic: str, queue: str, exchange: str = "amq.topic") -> bytes | None:
    with contextlib.closing(broker.connect()) as connection:
        channel = connection.channel()
        channel.basic_publish(exchange, topic, b"here")
        body: bytes | None = channel.basic_get(queue, auto_ack=True)[2]
        return body


def test_a_broker_that_is_away_is_said_at_once() -> None:
    """With its address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(BusUnreachable, match=rf"the broker at 127\.0\.0\.1:{port} is not reachable"):
        topology.declare(f"amqp://127.0.0.1:{port}/", "amq.topic", "q", ["#"])


def test_a_url_that_is_none_is_a_settings_error() -> None:
    """Before anything is tried."""
    with pytest.raises(SettingsError, match=r"bus\.url"):
        topology.declare("localhost", "amq.topic", "q", ["#"])


def test_a_queue_with_other_properties_is_said(broker: Broker, queue_name: str) -> None:
    """It names the queue and what to do."""
    with contextlib.closing(broker.connect()) as connection:
        connection.channel().queue_declare(queue_name, durable=True, arguments={"x-max-length": 1})

    with pytest.raises(BusUnreachable, match=rf"with other properties; delete it there .*{queue_name}"):
        topology.declare(broker.url, "amq.topic", queue_name, ["#"], timeout=3)


def test_an_account_without_the_permission_is_refused(broker: Broker) -> None:
    """An account that may configure nothing cannot declare."""
    with pytest.raises(BusUnreachable, match=r"give it the permission there: .*'denied'"):
        topology.declare(broker.url_of(LIMITED), "amq.topic", "denied", ["#"])


def test_declaring_twice_is_declaring_once(broker: Broker, queue_name: str) -> None:
    """A message on a bound topic is kept while nobody consumes; one on another topic is not."""
    bindings = ["*.*.*.git.receive", "#.forgejo.push"]
    topology.declare(broker.url, "amq.topic", queue_name, bindings)
    topology.declare(broker.url, "amq.topic", queue_name, bindings)

    assert _publish_and_get(broker, "org.fedoraproject.prod.git.receive", queue_name) == b"here"
    assert _publish_and_get(broker, "org.fedoraproject.prod.forgejo.push", queue_name) == b"here"
    assert _publish_and_get(broker, "org.fedoraproject.prod.forgejo.fork", queue_name) is None


def test_an_exchange_of_our_own_is_declared(broker: Broker, queue_name: str) -> None:
    """Only those of the broker, `amq.*`, are there already."""
    exchange = f"exchange-{queue_name}"
    try:
        topology.declare(broker.url, exchange, queue_name, ["a.#"])

        assert _publish_and_get(broker, "a.b", queue_name, exchange) == b"here"
    finally:
        with contextlib.closing(broker.connect()) as connection:
            connection.channel().exchange_delete(exchange)


def test_the_queue_and_what_is_in_it_outlive_the_broker(broker: Broker, queue_name: str) -> None:
    """Durable: a restarted broker still has it."""
    topology.declare(broker.url, "amq.topic", queue_name, ["kept.#"])
    broker.kill()
    broker.start()

    assert _publish_and_get(broker, "kept.message", queue_name) == b"here"
