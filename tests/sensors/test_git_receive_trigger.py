"""The listening: off the bus, into the ledger, then acknowledged."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pika
import pytest
from airflow.sdk.exceptions import TaskDeferred
from sqlalchemy import select

from ci_pipeline import store
from ci_pipeline.catch_up import TOPIC
from ci_pipeline.errors import DatabaseUnreachable
from ci_pipeline.intake import Intake
from ci_pipeline.settings import Settings
from ci_pipeline.store.tables import Inbound, Outbox
from sensors.git_receive import GitReceiveSensor
from sensors.git_receive_trigger import GitReceiveTrigger
from tests.distgit import DistGit
from tests.makers import PUSHED, pushed

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def queue(current: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A queue of the test's own, which the settings name."""
    name = "test-intake"
    monkeypatch.setenv("CI_PIPELINE_BUS__QUEUE", name)
    # Whoever wants dist-git to be looked at makes one.
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__CATCH_UP", "false")
    parameters = pika.URLParameters(current.bus.url.get_secret_value())
    with contextlib.closing(pika.BlockingConnection(parameters)) as connection:
        channel = connection.channel()
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, "amq.topic", "*.*.*.git.receive")
        yield name
        channel.queue_delete(name)


def send(current: Settings, *bodies: bytes) -> None:
    """Publish messages with an independent client."""
    parameters = pika.URLParameters(current.bus.url.get_secret_value())
    with contextlib.closing(pika.BlockingConnection(parameters)) as connection:
        for body in bodies:
            connection.channel().basic_publish("amq.topic", PUSHED, body)


def left_in(current: Settings, queue: str) -> int:
    """Return how many messages wait in the queue."""
    parameters = pika.URLParameters(current.bus.url.get_secret_value())
    with contextlib.closing(pika.BlockingConnection(parameters)) as connection:
        return connection.channel().queue_declare(queue, passive=True).method.message_count


async def listen(rotate_after: float = 0) -> dict[str, int]:
    """Let the trigger listen until it has taken up something, or it is time."""
    trigger = GitReceiveTrigger(trigger_run_id="listening", rotate_after=rotate_after)
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger ended without an event")


def test_what_arrives_is_recorded_announced_and_acknowledged(current: Settings, queue: str) -> None:
    """Readable or not. Airflow is away in this test: the queued change waits in the ledger."""
    send(current, pushed("greeter").raw, pushed("polari").raw, b"not json")
    payload = asyncio.run(listen())
    with store.session() as session:
        states = [row.state for row in session.scalars(select(Inbound).order_by(Inbound.id))]
        published = {row.event: row.published_at for row in session.scalars(select(Outbox))}

    assert payload == {"messages": 3}
    assert states == ["queued", "ignored", "dead"]
    assert set(published) == {"package.queued", "package.ignore"}
    assert all(published.values())
    assert left_in(current, queue) == 0


def test_a_message_that_could_not_be_recorded_stays_on_the_bus(
    current: Settings, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's row comes before the acknowledgement."""
    send(current, pushed("greeter").raw)

    def broken(*_: object) -> None:
        raise RuntimeError("the database is away")

    monkeypatch.setattr(Intake, "record", broken)
    with pytest.raises(RuntimeError):
        asyncio.run(listen())

    assert left_in(current, queue) == 1


def test_a_database_that_goes_away_is_waited_for(
    current: Settings, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is held, unacknowledged, and written when the database is back."""
    send(current, pushed("greeter").raw)
    record, answers = Intake.record, iter([DatabaseUnreachable("away"), DatabaseUnreachable("away")])
    left = []

    def sometimes(intake: Intake, messages: Iterable[Any]) -> list[int]:
        left.append(left_in(current, queue))
        for error in answers:
            raise error
        return record(intake, messages)

    monkeypatch.setattr(Intake, "record", sometimes)
    payload = asyncio.run(listen())

    assert payload == {"messages": 1}
    assert len(left) == 3
    assert left_in(current, queue) == 0
    with store.session() as session:
        assert session.scalars(select(Inbound.state)).all() == ["queued"]


@pytest.fixture
def distgit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DistGit:
    """A dist-git with greeter on f26, which the trigger looks at."""
    made = DistGit(tmp_path)
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__CATCH_UP", "true")
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__URL", made.url)
    return made


def test_a_push_nobody_heard_of_is_found_when_listening_begins(current: Settings, queue: str, distgit: DistGit) -> None:
    """After what waits in the queue, which may be older than dist-git's head, and must not supersede it."""
    older = distgit.commit("greeter", {"README": "1"})
    missed = distgit.commit("greeter", {"README": "2"})
    send(current, pushed("greeter", rev=older).raw)
    asyncio.run(listen())
    with store.session() as session:
        rows = session.execute(select(Inbound.rev, Inbound.state, Inbound.topic).order_by(Inbound.id)).all()

    assert [tuple(row) for row in rows] == [(older, "superseded", PUSHED), (missed, "queued", TOPIC)]


def test_a_dist_git_that_is_away_does_not_stop_the_listening(
    current: Settings, queue: str, distgit: DistGit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said in the log."""
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__URL", "http://127.0.0.1:9")
    send(current, pushed("greeter").raw)

    assert asyncio.run(listen()) == {"messages": 1}
    assert "not looked at: rpms/greeter" in caplog.text


def test_the_trigger_survives_a_trip_through_airflows_database() -> None:
    """The triggerer makes it again from what it says of itself."""
    path, arguments = GitReceiveTrigger(trigger_run_id="x", rotate_after=5).serialize()

    assert path == "sensors.git_receive_trigger.GitReceiveTrigger"
    assert GitReceiveTrigger(**arguments).serialize() == (path, arguments)


def test_the_sensor_holds_no_worker() -> None:
    """It defers at once, and ends when the trigger rotates."""
    sensor = GitReceiveSensor(task_id="listen")
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({"dag_run": SimpleNamespace(run_id="r")})
    sensor.rotate({}, {"messages": 0})

    assert deferred.value.trigger.trigger_run_id == "r"
    assert deferred.value.method_name == "rotate"


def test_only_trusted_senders_are_taken_up(current: Settings, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another account sends is not even read, and nothing is said of it; nor is what does not say who sent it."""
    user = pika.URLParameters(current.bus.url.get_secret_value()).credentials.username
    send_as(current, user, pushed("greeter").raw)
    send_as(current, None, pushed("greeter", rev="2" * 40).raw, b"not json")
    monkeypatch.setenv("CI_PIPELINE_BUS__SENDERS", f'["somebody", "{user}"]')
    asyncio.run(listen())
    send_as(current, user, pushed("greeter", rev="3" * 40).raw)
    monkeypatch.setenv("CI_PIPELINE_BUS__SENDERS", '["somebody"]')
    asyncio.run(listen())
    with store.session() as session:
        rows = session.execute(select(Inbound.state, Inbound.repo, Inbound.reason).order_by(Inbound.id)).all()
        said = session.scalars(select(Outbox.event)).all()
    unsaid = "it does not say who sent it (user_id) (bus.senders)"

    assert [tuple(row) for row in rows] == [
        ("queued", "greeter", ""),
        ("ignored", None, unsaid),
        ("ignored", None, unsaid),
        ("ignored", None, f"its sender '{user}' is not trusted (bus.senders)"),
    ]
    assert said == ["package.queued"]
    assert left_in(current, queue) == 0


def send_as(current: Settings, user: str | None, *bodies: bytes) -> None:
    """Publish messages that say which account sends them."""
    properties = pika.BasicProperties(user_id=user)
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(current.bus.url.get_secret_value()))) as bus:
        channel = bus.channel()
        channel.confirm_delivery()
        for body in bodies:
            channel.basic_publish("amq.topic", PUSHED, body, properties)


def test_what_is_found_in_dist_git_needs_no_sender(
    current: Settings, queue: str, distgit: DistGit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sent it: we asked."""
    send(current, pushed("greeter", rev=distgit.commit("greeter", {"README": "1"})).raw)
    asyncio.run(listen())
    missed = distgit.commit("greeter", {"README": "2"})
    monkeypatch.setenv("CI_PIPELINE_BUS__SENDERS", '["somebody"]')
    asyncio.run(listen())
    with store.session() as session:
        rows = session.execute(select(Inbound.rev, Inbound.state, Inbound.topic).order_by(Inbound.id)).all()

    assert [tuple(row) for row in rows[1:]] == [(missed, "queued", TOPIC)]
