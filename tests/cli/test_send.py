"""`send` puts any JSON object on the bus, and says what is wrong with anything else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from ci_pipeline.settings import Settings
from tests.cli.conftest import Cli

TOPIC = "org.example.tests.git.receive"
RECORDED = "org.fedoraproject.prod.git.receive"


class Listener:
    """An independent client with a queue of its own on a topic."""

    def __init__(self, url: str, *topics: str) -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self.connection.channel()
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue
        for topic in topics:
            self._channel.queue_bind(self._queue, "amq.topic", topic)

    def get(self) -> tuple[str, str, Any]:
        """Return topic, id and body of the next message."""
        method, properties, body = self._channel.basic_get(self._queue, auto_ack=True)

        assert method is not None, "no message arrived"

        return method.routing_key, properties.message_id, json.loads(body)


@pytest.fixture
def listener(current: Settings) -> Iterator[Listener]:
    """A listener on the topics of these tests."""
    made = Listener(current.bus.url.get_secret_value(), TOPIC, RECORDED)
    yield made
    made.connection.close()


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("{", [], "is not JSON"),
        ("[1, 2]", ["--topic", TOPIC], "not an object"),
        ('{"commit": {}}', [], "--topic"),
        ('{"topic": "", "msg": {}}', [], "has no topic"),
        ('{"topic": 7, "body": {}}', [], "has no topic"),
        ('{"topic": "a.b", "msg": "text"}', [], "not an object"),
        ("{}", ["--topic", "a topic"], "is not a topic"),
        ("{}", ["--topic", "a." + "b" * 300], "is not a topic"),
    ],
)
def test_what_cannot_be_sent_is_explained(cli: Cli, tmp_path: Path, text: str, options: list[str], said: str) -> None:
    """Every way a file can be wrong has its own sentence."""
    file = tmp_path / "message.json"
    file.write_text(text)

    result = cli("send", str(file), *options)

    assert result.exit_code == 1
    assert said in result.stderr


def test_a_missing_file_is_explained(cli: Cli, tmp_path: Path) -> None:
    """The file is named."""
    result = cli("send", str(tmp_path / "nothing.json"))

    assert result.exit_code == 1
    assert "nothing.json cannot be read" in result.stderr


@pytest.mark.usefixtures("servers", "current")
def test_a_message_that_no_queue_takes_is_an_error(cli: Cli) -> None:
    """Nobody would ever see it, so it must not look sent."""
    result = cli("send", "-", "--topic", "org.example.nobody.listens", stdin="{}")

    assert result.exit_code == 1
    assert "refuses the message" in result.stderr


def test_a_recorded_envelope_goes_out_as_its_body(cli: Cli, recorded: Path, listener: Listener) -> None:
    """What an archive returned is published on its topic, as it stood on the bus."""
    file = recorded / f"{RECORDED}.json"

    result = cli("send", str(file), "--json")

    sent = json.loads(result.stdout)
    topic, message_id, body = listener.get()
    assert (topic, message_id) == (RECORDED, sent["id"])
    assert body == json.loads(file.read_text())["msg"]


@pytest.mark.parametrize("body", [{"commit": 5}, {"topic": "a.b", "msg": {"whole": True}}, {}, {"\u0000": "\u0007"}])
def test_any_object_goes_out_as_it_is_on_a_given_topic(cli: Cli, listener: Listener, body: dict[str, Any]) -> None:
    """An operator can try what the pipeline does with a malformed message."""
    result = cli("send", "-", "--topic", TOPIC, stdin=json.dumps(body))

    topic, message_id, arrived = listener.get()
    assert result.exit_code == 0
    assert message_id in result.stdout
    assert (topic, arrived) == (TOPIC, body)
