"""A storm of pushes through the real broker, the trigger, the ledger and the outbox, beside bare clients of the bus."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from ci_pipeline import settings, store
from ci_pipeline.audit import audit
from ci_pipeline.bus import topology
from ci_pipeline.store import outbox, runs
from ci_pipeline.store.tables import Inbound, Outbox, Run
from sensors.git_receive_trigger import GitReceiveTrigger
from tests.benchmarks import bare_clients, storm
from tests.benchmarks.airflow_stand_in import airflow_stand_in
from tests.benchmarks.measuring import Book, Figure, Row, alternately
from tests.benchmarks.servers import environment, servers
from tests.database import empty_large

_LOOK_SECONDS: Final = 0.5
# What a process does once is none of a storm's time.
_FIRST: Final = 100
_LONGEST_SECONDS: Final = 3600.0


def measure(book: Book, state: Path, *, messages: int, rounds: int) -> None:
    """Let so many messages be taken up, by the pipeline and by both bare clients, alternately."""
    with servers(state), airflow_stand_in() as airflow, environment(_chosen(airflow)):
        bus = settings.current().bus
        url, queue = bus.url.get_secret_value(), bus.queue
        topology.declare(url, bus.exchange, queue, bus.bindings)
        of_clients = [partial(client, url, queue, messages) for client in (bare_clients.consume, bare_clients.answer)]
        _with_storm(url, _FIRST, "warm-up", lambda: asyncio.run(_take_up(_FIRST)))
        takers = [lambda: asyncio.run(_take_up(messages)), *of_clients]
        measures = [partial(_with_storm, url, messages, f"storm {number}", one) for number, one in enumerate(takers)]
        ours, consuming, answering = alternately(rounds, *measures)
    name = f"intake of {messages:,} pushes, 2 % of them of a watched package"
    book.rows.append(Row(name, "a bare client consumes and acknowledges them", "s", ours, consuming))
    book.rows.append(Row(name, "a bare client that answers each with a confirmed message", "s", ours, answering))
    book.figures.append(Figure("intake, all announced and fired", messages * rounds / sum(ours), "messages/s"))


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


async def _take_up(messages: int) -> float:
    """Let the trigger listen until all is said and fired; return the seconds until the last of it was."""
    began = time.time()
    listening = asyncio.create_task(_listen())
    while not await asyncio.to_thread(_is_done, messages):
        await asyncio.wait([listening], timeout=_LOOK_SECONDS)
        if listening.done():
            listening.result()
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening
    return _end_of(messages) - began


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
