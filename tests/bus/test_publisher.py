"""Publishing to a real broker, read by an independent client."""

import contextlib
import json
import multiprocessing
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fedora_messaging import config, message

from ci_pipeline.bus import base, schemas
from ci_pipeline.bus.publisher import Publisher
from ci_pipeline.errors import BusUnreachable, MessageRejected, SettingsError
from tests.bus import recorded
from tests.bus.broker import LIMITED, Broker

RECORDED = recorded.published()
EXCHANGE = "amq.topic"


def _complete(**changes: str) -> schemas.PipelineMessage:
    return schemas.make("complete", recorded.PREFIX, {**RECORDED["complete"], **changes}, outbox_id="row-1")


def _publish(url: str, *, timeout: float = 15, **changes: str) -> None:
    with Publisher(url, EXCHANGE, timeout) as publisher:
        publisher.publish(_complete(**changes))


def test_a_broker_that_is_away_is_said_at_once() -> None:
    """The outbox keeps the message; nobody waits for a timeout."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    started = time.monotonic()

    with pytest.raises(
        BusUnreachable, match=rf"the broker at 127\.0\.0\.1:{port} is not reachable: .*Connection refused"
    ):
        _publish(f"amqp://user:secret@127.0.0.1:{port}/")
    assert time.monotonic() - started < 2


def test_a_server_that_says_nothing_costs_the_timeout_and_no_more() -> None:
    """Something listens there, and it is no broker."""
    started = time.monotonic()

    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(BusUnreachable, match="does not answer in time"):
        _publish(f"amqp://127.0.0.1:{mute.getsockname()[1]}/", timeout=0.5)
    assert time.monotonic() - started < 3


def test_a_broker_that_hangs_costs_the_timeout_and_no_more(broker: Broker) -> None:
    """Connected, and no confirm comes."""
    with Publisher(broker.url, EXCHANGE, timeout=1) as publisher:
        publisher.publish(_complete())
        broker.pause()
        started = time.monotonic()
        with pytest.raises(BusUnreachable, match="does not answer in time"):
            publisher.publish(_complete())
        waited = time.monotonic() - started
        broker.resume()
        publisher.publish(_complete())

    assert waited < 5


def test_a_wrong_password_is_unreachable_and_not_shown(broker: Broker) -> None:
    """The message is fine: it waits until somebody corrects the setting."""
    with pytest.raises(BusUnreachable, match=r"refuses the account; check the user and password in bus\.url") as caught:
        _publish(broker.url_of("ci", "not-this"))
    assert "not-this" not in str(caught.value)


def test_a_missing_exchange_is_unreachable(broker: Broker) -> None:
    """The message is fine here too."""
    with (
        Publisher(broker.url, "no-such-exchange") as publisher,
        pytest.raises(BusUnreachable, match=r"has no such exchange or queue; .* check bus\.exchange"),
    ):
        publisher.publish(_complete())


def test_a_url_that_is_none_is_a_settings_error() -> None:
    """Before anything is tried."""
    with pytest.raises(SettingsError, match=r"bus\.url is not an AMQP URL"):
        _publish("http://localhost/")


def test_a_topic_the_account_may_not_publish_is_rejected(broker: Broker) -> None:
    """By the broker, for good; the next message, on a permitted topic, goes out on the same publisher."""
    with Publisher(broker.url_of(LIMITED), EXCHANGE) as publisher:
        with pytest.raises(MessageRejected, match=r"refuses the message: .*access to topic"):
            publisher.publish(_complete())
        publisher.publish(message.Message(topic="allowed.topic", body={}))


def test_a_body_that_breaks_its_schema_is_rejected(broker: Broker) -> None:
    """A message made past `make` is checked once more; nothing reaches the broker."""
    body = {**RECORDED["complete"], "rev": "short"}

    with Publisher(broker.url, EXCHANGE) as publisher, pytest.raises(MessageRejected, match="'short' does not match"):
        publisher.publish(schemas.CompleteV1(body=body, topic=body["topic"]))


def test_a_mandatory_message_nobody_takes_is_rejected(broker: Broker) -> None:
    """For a message sent by hand to our own queue, vanishing would be a trap."""
    lost = message.Message(topic=f"nobody.{uuid.uuid4()}", body={})

    with Publisher(broker.url, EXCHANGE) as publisher:
        publisher.publish(lost)
        with pytest.raises(MessageRejected, match="NO_ROUTE"):
            publisher.publish(lost, mandatory=True)


def test_a_message_a_full_queue_does_not_take_is_tried_again_later(broker: Broker, queue_name: str) -> None:
    """Whoever has filled it may empty it: until then the message is kept."""
    bounds = {"x-max-length": 1, "x-overflow": "reject-publish"}
    with contextlib.closing(broker.connect()) as connection:
        channel = connection.channel()
        channel.queue_declare(queue_name, arguments=bounds)
        channel.queue_bind(queue_name, EXCHANGE, RECORDED["complete"]["topic"])
        with Publisher(broker.url, EXCHANGE) as publisher:
            publisher.publish(_complete())
            with pytest.raises(BusUnreachable, match="it has no room for the message"):
                publisher.publish(_complete())
            channel.queue_purge(queue_name)
            publisher.publish(_complete())


@pytest.mark.parametrize("event", sorted(RECORDED))
def test_what_is_published_is_what_arrives(broker: Broker, listen: Any, event: str) -> None:
    """Body, topic, headers and properties, as an independent client sees them and as fedora-messaging reads them."""
    made = schemas.make(event, recorded.PREFIX, RECORDED[event], outbox_id="row-7")
    arrived = listen(made.topic)

    with Publisher(broker.url, EXCHANGE) as publisher:
        publisher.publish(made)
    [(method, properties, raw)] = arrived()

    assert json.loads(raw) == RECORDED[event]
    assert method.routing_key == RECORDED[event]["topic"]
    assert properties.headers["fedora_messaging_schema"] == f"ci_pipeline.{event}"
    assert properties.headers[base.ID_HEADER] == "row-7"
    assert uuid.UUID(properties.message_id).version == 4
    assert (properties.content_type, properties.content_encoding) == ("application/json", "utf-8")
    assert properties.delivery_mode == 2
    assert message.get_message(method.routing_key, properties, raw) == made


def test_messages_arrive_in_the_order_they_were_published(broker: Broker, listen: Any) -> None:
    """One connection, one channel, each confirmed before the next."""
    arrived = listen("org.centos.prod.ci.pipeline.complete")

    with Publisher(broker.url, EXCHANGE) as publisher:
        for number in range(50):
            publisher.publish(_complete(build_id=str(number)))

    assert [json.loads(raw)["build_id"] for _, _, raw in arrived()] == [str(number) for number in range(50)]


def test_of_messages_sent_at_once_only_the_refused_ones_are_refused(broker: Broker, listen: Any) -> None:
    """Over the first the broker closes the channel, and with it loses what was sent behind it."""
    arrived = listen("allowed.#")
    allowed = [message.Message(topic=f"allowed.{number}", body={}) for number in range(6)]
    sent = [*allowed[:2], _complete(), *allowed[2:4], _complete(), *allowed[4:]]

    with Publisher(broker.url_of(LIMITED), EXCHANGE) as publisher:
        answers = publisher.publish_all(sent)

    assert [type(answer) for answer in answers] == [
        MessageRejected if one.topic.endswith("complete") else type(None) for one in sent
    ]
    assert {method.routing_key for method, _, _ in arrived()} == {one.topic for one in allowed}


def test_a_body_that_breaks_its_schema_holds_nothing_up(broker: Broker, listen: Any) -> None:
    """It never leaves; the others do."""
    arrived = listen("org.centos.prod.ci.pipeline.complete")
    broken = schemas.CompleteV1(body={**RECORDED["complete"], "rev": "short"}, topic=RECORDED["complete"]["topic"])

    with Publisher(broker.url, EXCHANGE) as publisher:
        answers = publisher.publish_all([_complete(build_id="1"), broken, _complete(build_id="2")])

    assert [type(answer) for answer in answers] == [type(None), MessageRejected, type(None)]
    assert sorted(json.loads(raw)["build_id"] for _, _, raw in arrived()) == ["1", "2"]


def test_a_broker_that_is_away_is_asked_once_for_all_messages(broker: Broker) -> None:
    """Not for each of them: a batch must not wait a timeout per message."""
    with Publisher(broker.url, EXCHANGE, timeout=1) as publisher:
        publisher.publish(_complete())
        broker.pause()
        started = time.monotonic()
        answers = publisher.publish_all([_complete(build_id=str(number)) for number in range(50)])
        waited = time.monotonic() - started
        broker.resume()

    assert [type(answer) for answer in answers] == [BusUnreachable] * 50
    assert waited < 8


def test_a_kept_publisher_outlives_the_broker(broker: Broker) -> None:
    """Down: said quickly. Up again: the next message goes out, without a new publisher."""
    with Publisher(broker.url, EXCHANGE, timeout=5) as publisher:
        publisher.publish(_complete())
        broker.kill()
        started = time.monotonic()
        with pytest.raises(BusUnreachable):
            publisher.publish(_complete())
        waited = time.monotonic() - started
        broker.start()
        publisher.publish(_complete())

    assert waited < 4


def test_a_connection_that_died_unnoticed_is_opened_again(broker: Broker) -> None:
    """The broker was restarted between two messages: the second one needs no retry by the caller."""
    with Publisher(broker.url, EXCHANGE, timeout=5) as publisher:
        publisher.publish(_complete())
        broker.kill()
        broker.start()
        publisher.publish(_complete())


def test_a_forked_child_publishes(broker: Broker, listen: Any) -> None:
    """Airflow forks a process per task; the parent may have published before."""
    arrived = listen("org.centos.prod.ci.pipeline.complete")
    _publish(broker.url, build_id="1")
    child = multiprocessing.get_context("fork").Process(target=_publish, args=(broker.url,), kwargs={"build_id": "2"})
    child.start()
    child.join(30)
    _publish(broker.url, build_id="3")

    assert child.exitcode == 0
    assert [json.loads(raw)["build_id"] for _, _, raw in arrived()] == ["1", "2", "3"]


def test_threads_publish(broker: Broker, listen: Any) -> None:
    """Each with a publisher of its own."""
    arrived = listen("org.centos.prod.ci.pipeline.complete")
    threads = [
        threading.Thread(target=_publish, args=(broker.url,), kwargs={"build_id": str(number)}) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(json.loads(raw)["build_id"] for _, _, raw in arrived()) == ["0", "1", "2", "3"]


def test_the_first_messages_of_two_threads_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library reads its configuration with the first; the second does not run ahead of that."""
    monkeypatch.setattr(config, "conf", config.LazyConfig())
    reading, second_made = threading.Event(), threading.Event()
    update = config.LazyConfig.update

    def slow_update(self: config.LazyConfig, *args: Any) -> None:
        reading.set()
        second_made.wait(0.5)
        update(self, *args)

    monkeypatch.setattr(config.LazyConfig, "update", slow_update)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(_complete)
        reading.wait(10)
        second = threads.submit(_complete)
        second.add_done_callback(lambda _: second_made.set())

    assert first.result().severity == second.result().severity


def test_a_fresh_process_publishes_and_ends(broker: Broker, listen: Any) -> None:
    """Import, connect, confirm, end: no thread or loop keeps the process, and nothing is said on stderr."""
    arrived = listen("org.centos.prod.ci.pipeline.complete")
    code = (
        "import sys, json; from ci_pipeline.bus import publisher, schemas\n"
        "body = json.loads(sys.argv[2])\n"
        "with publisher.Publisher(sys.argv[1], 'amq.topic') as bus:\n"
        "    bus.publish(schemas.make('complete', 'org.centos.prod', body))\n"
    )
    command = [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", code]

    ended = subprocess.run(
        [*command, broker.url, json.dumps(RECORDED["complete"])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert [json.loads(raw) for _, _, raw in arrived()] == [RECORDED["complete"]]


def test_closing_twice_and_closing_unused_is_fine(broker: Broker) -> None:
    """As with any file."""
    publisher = Publisher(broker.url, EXCHANGE)
    with contextlib.closing(publisher):
        publisher.publish(_complete())
    publisher.close()
    Publisher(broker.url, EXCHANGE).close()
