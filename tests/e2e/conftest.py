"""The whole pipeline on real servers and tools: a stack of the tests' own, a dist-git, and an independent listener."""

import contextlib
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from ci_pipeline import settings, store
from ci_pipeline.cli.bring_up import bring_up
from ci_pipeline.stack import down
from tests.distgit import DistGit

EVENTS = "#.ci.pipeline.#"
LISTENER = "an-independent-listener"
# A stage may take long on a busy machine; a run that has not ended by then never will.
RUN_SECONDS = 420


class Bus:
    """A client of the bus that knows nothing of the pipeline's code: it publishes, and keeps all that is announced.

    Its queue is durable and it connects again, for some tests kill the broker.
    """

    def __init__(self, url: str) -> None:
        self._parameters = pika.URLParameters(url)
        self._arrived = threading.Condition()
        self._messages: list[dict[str, Any]] = []
        self._closing = threading.Event()
        with contextlib.closing(pika.BlockingConnection(self._parameters)) as connection:
            channel = connection.channel()
            channel.queue_declare(LISTENER, durable=True)
            channel.queue_bind(LISTENER, "amq.topic", EVENTS)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        while not self._closing.is_set():
            with (
                contextlib.suppress(pika.exceptions.AMQPError),
                contextlib.closing(pika.BlockingConnection(self._parameters)) as connection,
            ):
                channel = connection.channel()
                for method, _, body in channel.consume(LISTENER, inactivity_timeout=0.5):
                    if method is not None:
                        self._keep(method.routing_key, body)
                        channel.basic_ack(method.delivery_tag)
                    elif self._closing.is_set():
                        break

    def _keep(self, topic: str, body: bytes) -> None:
        with self._arrived:
            self._messages.append({"topic": topic, "body": json.loads(body)})
            self._arrived.notify_all()

    def publish(self, topic: str, body: bytes) -> None:
        """Publish a message as any program would."""
        with contextlib.closing(pika.BlockingConnection(self._parameters)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish("amq.topic", topic, body, mandatory=True)

    def of(self, rev: str) -> list[dict[str, Any]]:
        """Return what was announced about a revision so far."""
        with self._arrived:
            return [message for message in self._messages if message["body"]["rev"] == rev]

    def wait_for(self, event: str, rev: str, *, seconds: float = RUN_SECONDS) -> list[dict[str, Any]]:
        """Return what was announced about a revision, once an event is among it."""
        topic = f"org.centos.prod.ci.pipeline.{event}"
        with self._arrived:
            found = self._arrived.wait_for(
                lambda: any(m["topic"] == topic and m["body"]["rev"] == rev for m in self._messages), timeout=seconds
            )
        heard = [message["topic"] for message in self.of(rev)]

        assert found, f"no {event} of {rev} in {seconds} s; heard {heard}"

        return self.of(rev)

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        self._listener.join(timeout=10)


@pytest.fixture(scope="session")
def distgit() -> Iterator[DistGit]:
    """An empty dist-git."""
    folder = Path(tempfile.mkdtemp(prefix="dist-git-"))
    yield DistGit(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def pipeline(distgit: DistGit) -> Iterator[settings.Settings]:
    """The whole pipeline, up and listening, on this dist-git."""
    state = Path(tempfile.mkdtemp(prefix="ci-pipeline-e2e-"))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CI_PIPELINE_STATE", str(state))
            bring_up(extra_env={"CI_PIPELINE_DIST_GIT__URL": distgit.url})
            configured = settings.load()
        yield configured
    finally:
        down(state=state)
        shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(autouse=True)
def _settings_of_the_pipeline(pipeline: settings.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database and the folders these tests look at are the pipeline's."""
    monkeypatch.setenv("CI_PIPELINE_STATE", str(pipeline.state))
    settings.current.cache_clear()


@pytest.fixture(scope="session")
def bus(pipeline: settings.Settings) -> Iterator[Bus]:
    """A listener that hears everything from before the first push."""
    client = Bus(pipeline.bus.url.get_secret_value())
    yield client
    client.close()


def wait_until(true: Any, *, seconds: float, what: str) -> Any:
    """Return what `true()` returns once it is not falsy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with store.session() as session:
            if found := true(session):
                return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what}")
