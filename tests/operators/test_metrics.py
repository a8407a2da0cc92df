"""What is measured arrives at a StatsD server, by name."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk._shared.observability.metrics.statsd_logger import SafeStatsdLogger
from airflow.sdk.observability import stats
from statsd import StatsClient

from ci_pipeline import measures, store
from ci_pipeline.intake import Intake
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE, COMPOSE_OSTREE, FUNCTIONAL_TESTS
from ci_pipeline.store import lanes, runs
from operators import metrics
from operators.build_package import BuildPackageOperator
from operators.complete import CompleteOperator
from tests.makers import new_run, play, pushed, report
from tests.plans import listening
from tests.storm import rebuild, stormy

pytestmark = pytest.mark.usefixtures("database")

HOUR = timedelta(hours=1)


class Statsd:
    """A StatsD server: it keeps what arrives."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server

    def heard(self) -> dict[str, str]:
        """Return what has arrived, by name."""
        found = {}
        with contextlib.suppress(BlockingIOError):
            while True:
                name, _, value = self._server.recv(4096).decode().partition(":")
                found[name] = value
        return found


@pytest.fixture
def statsd() -> Iterator[Statsd]:
    """A server on loopback that Airflow's metrics go to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)  # noqa: FBT003 - the socket's own signature
        client = StatsClient(*server.getsockname())
        stats.initialize(factory=lambda: SafeStatsdLogger(client), export_legacy_names=False)
        yield Statsd(server)
        client.close()
        stats.initialize(factory=NoStatsLogger, export_legacy_names=False)


def test_how_things_are_is_sent(current: Settings, statsd: Statsd) -> None:
    """Decisions, ends, and what waits."""
    Intake(current, trigger_run_id="x").record([pushed("greeter"), pushed("polari"), pushed("greeter")])
    play(current, new_run("hostinfo"), Status.FAILURE)
    with store.session() as session:
        metrics.send_gauges(measures.of_everything(session, ["datahub"]))
    heard = statsd.heard()

    assert heard["ci_pipeline.messages.queued"] == "1|g"
    assert heard["ci_pipeline.messages.ignored"] == "1|g"
    assert heard["ci_pipeline.messages.duplicate"] == "1|g"
    assert heard["ci_pipeline.messages.dead"] == "0|g"
    assert heard["ci_pipeline.changes.waiting"] == "2|g"
    assert heard["ci_pipeline.outbox.waiting"] == "4|g"
    assert heard["ci_pipeline.sinks.datahub.waiting"] == "0|g"
    assert float(heard["ci_pipeline.outbox.oldest_seconds"].partition("|")[0]) > 0


def test_a_storm_is_measured(current: Settings, statsd: Statsd) -> None:
    """What waits for its turn is not what Airflow was to be told of by now."""
    rebuild(stormy(current, changes=1), 4)
    with store.session() as session:
        runs.mark_fired(session, lanes.next_to_go(session, stormy(current).storm).id)
    with store.session() as session, listening(current) as statements:
        metrics.send_gauges(measures.of_everything(session))
    heard = statsd.heard()

    assert heard["ci_pipeline.storm.accounts"] == "1|g"
    assert heard["ci_pipeline.storm.waiting"] == "2|g"
    assert heard["ci_pipeline.storm.going_on"] == "1|g"
    assert heard["ci_pipeline.changes.waiting"] == "1|g"
    assert not [asked for asked, _ in statements if "stage_result" in asked]


def test_a_stage_sends_how_it_ended_and_its_times(
    context: Callable[..., Any], carried_out: Callable[..., Any], statsd: Statsd
) -> None:
    """Milliseconds, as StatsD has them."""
    operator = BuildPackageOperator()
    carried_out(operator, report(BUILD_PACKAGE))
    operator.execute(context(operator))
    heard = statsd.heard()

    assert heard["ci_pipeline.stage.build_package.success"] == "1|c"
    assert heard["ci_pipeline.stage.build_package.took"].endswith("|ms")
    assert heard["ci_pipeline.stage.build_package.waited"].endswith("|ms")


def test_a_stage_waits_from_the_end_of_the_one_before(current: Settings) -> None:
    """The first one from when its run was fired."""
    run = new_run()
    play(current, run, Status.SUCCESS, Status.SUCCESS)
    with store.session() as session:
        row = session.merge(run)
        first, second = sorted(row.results, key=lambda result: result.id)
        second.started_at, second.ended_at = first.ended_at + HOUR, first.ended_at + HOUR + HOUR
        session.flush()

        assert measures.of_stage(session, row, FUNCTIONAL_TESTS) == measures.StageTimes(took=3600, waited=3600)
        assert measures.of_stage(session, row, COMPOSE_OSTREE) is None


def test_a_run_sends_how_long_it_took(context: Callable[..., Any], current: Settings, statsd: Statsd) -> None:
    """Also one that failed."""
    run = new_run()
    play(current, run, Status.FAILURE)
    operator = CompleteOperator()
    operator.execute(context(operator, run_id=run.run_id))

    assert statsd.heard()["ci_pipeline.run.took"].endswith("|ms")


def test_nobody_has_to_listen(context: Callable[..., Any], carried_out: Callable[..., Any]) -> None:
    """A stage ends as ever."""
    operator = BuildPackageOperator()
    carried_out(operator, report(BUILD_PACKAGE, Status.SKIPPED, "nothing to do", Fault.NONE))
    operator.execute(context(operator))
