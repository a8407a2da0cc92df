"""A storm of pushes through the real broker, the trigger, the ledger and the outbox, beside bare clients of the bus."""

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from ci_pipeline import settings, store
from ci_pipeline.audit import audit
from ci_pipeline.bus import topology
from ci_pipeline.bus.consumer import Batch, Consumer
from ci_pipeline.store import outbox, runs
from ci_pipeline.store.tables import Inbound, Outbox, Run
from sensors.git_receive_trigger import GitReceiveTrigger
from tests.benchmarks import bare_clients, storm
from tests.benchmarks.airflow_stand_in import airflow_stand_in
from tests.benchmarks.bare_clients import Listener
from tests.benchmarks.measuring import Book, Figure, Row, alternately
from tests.benchmarks.servers import environment, servers
from tests.database import empty_large

_QUEUED: Final = "#.ci.pipeline.package.queued"
_LOOK_SECONDS: Final = 0.5
# What a process does once is none of a storm's time.
_FIRST: Final = 100
_LONGEST_SECONDS: Final = 3600.0


def measure(book: Book, state: Path, *, messages: int, rounds: int) -> None:
    """Let so many messages be taken up, by the pipeline and by the bare clients, alternately.

    And let a push that matters come in the middle of so many others.
    """
    recorded: list[float] = []
    with servers(state), airflow_stand_in() as airflow, environment(_chosen(airflow)):
        bus = settings.current().bus
        url, queue = bus.url.get_secret_value(), bus.queue
        topology.declare(url, bus.exchange, queue, bus.bindings)
        clients = (bare_clients.consume, bare_clients.consume_fast, bare_clients.answer)
        of_clients = [partial(client, url, queue, messages) for client in clients]
        _with_storm(url, _FIRST, "warm-up", lambda: asyncio.run(_take_up(_FIRST, [])))
        takers = [lambda: asyncio.run(_take_up(messages, recorded)), *of_clients]
        measures = [partial(_with_storm, url, messages, f"storm {number}", one) for number, one in enumerate(takers)]
        ours, consuming, fast, answering = alternately(rounds, *measures)
        reactions = [asyncio.run(_react(url, messages, f"mid-storm {number}")) for number in range(rounds)]
    name = f"intake of {messages:,} pushes, 2 % of them of a watched package"
    consumed, answered = "a bare client consumes and acknowledges them", "a bare client answers each, confirmed"
    book.rows.append(Row(f"{name}: all in the ledger and acknowledged", consumed, "s", recorded, consuming))
    book.rows.append(Row(f"{name}: all in the ledger and acknowledged", f"{consumed}, by pika", "s", recorded, fast))
    book.rows.append(Row(f"{name}: all announced and fired, too", consumed, "s", ours, consuming))
    book.rows.append(Row(f"{name}: all announced and fired, too", answered, "s", ours, answering))
    book.figures.append(Figure("intake, all in the ledger", messages * rounds / sum(recorded), "messages/s"))
    book.figures.append(Figure("intake, all announced and fired", messages * rounds / sum(ours), "messages/s"))
    name = f"a push in the middle of {messages:,}, until its package.queued is heard"
    book.figures.append(Figure(f"{name}: median", statistics.median(reactions), "s"))
    book.figures.append(Figure(f"{name}: longest", max(reactions), "s"))


def _chosen(airflow: str) -> dict[str, str]:
    return {
        "CI_PIPELINE_PACKAGES__MONITORED": json.dumps(storm.WATCHED),
        "CI_PIPELINE_AIRFLOW__URL": airflow,
        "CI_PIPELINE_AIRFLOW__PASSWORD": "any",
        # Nothing was pushed that the bus has not.
        "CI_PIPELINE_DIST_GIT__CATCH_UP": "false",
        # All of it is fired: what waits for its turn would be no part of what is timed.
        "CI_PIPELINE_STORM__CHANGES": "1000000",
    }


def _with_storm(url: str, messages: int, name: str, take_up: Callable[[], float]) -> float:
    """Let a storm wait in the queue; return the seconds it takes to take it up."""
    empty_large()
    storm.publish(url, storm.Storm(messages, name=name))
    return take_up()


async def _take_up(messages: int, recorded: list[float]) -> float:
    """Let the trigger listen until all is said and fired; return the seconds until the last of it was.

    To `recorded` the seconds are added until the last message was in the ledger and acknowledged.
    """
    began = time.time()
    with _acknowledged() as times:
        async with _listening() as listening:
            while not await asyncio.to_thread(_is_done, messages):
                await _look_up(listening)
    recorded.append(times[-1] - began)
    return _end_of(messages) - began


async def _react(url: str, messages: int, name: str) -> float:
    """Let a push that matters come in the middle of a storm; return the seconds until it is heard that it is queued."""
    empty_large()
    first, second = (storm.Storm(messages // 2, name=f"{name}, half {number}") for number in (1, 2))
    one = storm.Storm(1, name=f"{name}, between")
    with Listener(url, _QUEUED) as listener:
        async with _listening() as listening:
            publishing = asyncio.create_task(asyncio.to_thread(_publish, url, first, one, second))
            heard = await asyncio.to_thread(listener.wait_for, one.revs()[0])
            began = await publishing
            while not await asyncio.to_thread(_is_done, messages // 2 * 2 + 1):
                await _look_up(listening)
    assert not audit().findings, audit().findings[:5]
    return heard - began


def _publish(url: str, first: storm.Storm, one: storm.Storm, second: storm.Storm) -> float:
    """Publish half a storm, a push, and the other half; return when that push was sent."""
    storm.publish(url, first)
    sent = time.time()
    storm.publish(url, one)
    storm.publish(url, second)
    return sent


@contextlib.asynccontextmanager
async def _listening() -> AsyncIterator[asyncio.Task[None]]:
    """Let the trigger listen meanwhile."""
    listening = asyncio.create_task(_listen())
    try:
        yield listening
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening


async def _look_up(listening: asyncio.Task[None]) -> None:
    await asyncio.wait([listening], timeout=_LOOK_SECONDS)
    if listening.done():
        listening.result()


@contextlib.contextmanager
def _acknowledged() -> Iterator[list[float]]:
    """Note when messages are acknowledged: before that they are in the ledger."""
    times: list[float] = []
    acknowledge = Consumer.ack

    async def noted(consumer: Consumer, batch: Batch) -> None:
        await acknowledge(consumer, batch)
        if batch.deliveries:
            times.append(time.time())

    Consumer.ack = noted  # type: ignore[method-assign]
    try:
        yield times
    finally:
        Consumer.ack = acknowledge  # type: ignore[method-assign]


async def _listen() -> None:
    async for _ in GitReceiveTrigger(trigger_run_id="benchmark", rotate_after=_LONGEST_SECONDS).run():
        raise AssertionError("the trigger rotated before it was through")


def _is_done(messages: int) -> bool:
    with store.session() as session:
        taken = session.scalar(select(func.count()).select_from(Inbound))
        return taken == messages and outbox.pending(session) == (0, 0) and not runs.not_fired(session)


def _end_of(messages: int) -> float:
    """Return when the last message was published and the last run fired; nothing may be lost by then."""
    done = audit()
    assert not done.findings, done.findings[:5]
    assert sum(done.messages.values()) == messages, done.summary
    with store.session() as session:
        ends = [session.scalar(select(func.max(column))) for column in (Outbox.published_at, Run.fired_at)]
    return max(end.timestamp() for end in ends if end)
