"""A stage that goes to a builder begins when it has one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from ci_pipeline import settings, store
from ci_pipeline.builders.executor import BuilderExecutor
from ci_pipeline.executors.ansible import AnsibleExecutor
from ci_pipeline.insight import tracing
from ci_pipeline.lane import Lane
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.stages import BUILD_PACKAGE, COMPOSE_OSTREE
from ci_pipeline.store import builder_leases, runs
from ci_pipeline.store.builder_leases import Ticket
from operators import callbacks
from operators.build_package import BuildPackageOperator
from operators.builder_turn import BuilderTurn
from operators.run_of import adopt
from sensors.builder_trigger import BuilderTrigger
from tests.makers import change, new_run, report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("database", "published")

ONE_BUILDER = "builders: {hosts: {b1: {builder_folder: /srv/ci, ansible_host: 10.0.0.1, builder_arch: %s}}}\n"


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes on a bus; it has tests of its own."""
    monkeypatch.setattr(callbacks.publishing, "publish_or_leave", lambda *_, **__: None)


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inventory of one builder, which has one slot."""
    path = tmp_path / "hosts.yml"
    path.write_text(ONE_BUILDER % "x86_64", encoding="ascii")
    monkeypatch.setenv("CI_PIPELINE_BUILDERS__INVENTORY", str(path))
    settings.current.cache_clear()
    return path


def take(run: int) -> None:
    """Let another try have the builder."""
    with store.session() as session:
        other = Ticket(run=run, stage=BUILD_PACKAGE.name, try_number=1)
        builder_leases.take(session, other, lambda: ("b1", ""), machines=0, seconds=60)


def results(run_id: str = "manual__1") -> dict[str, Any]:
    """Return the results of a run."""
    with store.session() as session:
        return dict(runs.latest_results(session, runs.get(session, run_id).id))


def test_a_stage_waits_for_a_builder_and_has_not_begun(context: Callable[..., Any], inventory: Path) -> None:
    """It is deferred, its page says for what, nothing is announced; the trigger takes the builder once it is free."""
    other = new_run(rev="1" * 40)
    take(other.id)
    operator = BuildPackageOperator()
    of_run = context(operator)
    adopt(of_run)
    callbacks.announce_start(of_run)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(of_run)
    with store.session() as session:
        shown = tracing.read(session, settings.current(), runs.get(session, "manual__1"))
    path, arguments = deferred.value.trigger.serialize()
    with store.session() as session:
        builder_leases.release(session, Ticket(run=other.id, stage=BUILD_PACKAGE.name, try_number=1))
    event = asyncio.run(anext(BuilderTrigger(**arguments).run()))
    with store.session() as session:
        held = [(one.builder, one.run_id) for one in builder_leases.held(session)]

    assert path == "sensors.builder_trigger.BuilderTrigger"
    assert shown.verdict.next == "build_package waits for a builder: b1 has 1 of 1 slots in use."
    assert results() == {}
    assert event.payload == {}
    assert held == [("b1", arguments["run"])]


def test_a_live_change_goes_before_a_storm_that_asks_first(inventory: Path) -> None:
    """Though it has waited longer, a try of the storm is told to wait while the builder is free."""
    other, live = new_run(rev="1" * 40), new_run(rev="2" * 40)
    with store.session() as session:
        storm = runs.create(session, change(rev="3" * 40), lane=Lane.STORM)
    take(other.id)

    def ask(run: int) -> str:
        with store.session() as session:
            return BuilderTurn(settings.current(), BUILD_PACKAGE).ask(session, run=run, try_number=1)

    busy = [ask(storm.id), ask(live.id)]
    with store.session() as session:
        builder_leases.release(session, Ticket(run=other.id, stage=BUILD_PACKAGE.name, try_number=1))
    free = [ask(storm.id), ask(live.id)]

    waits = "build_package waits for a builder: b1 has 1 of 1 slots in use"
    assert (busy, free) == ([waits, waits], [waits, ""])


def test_a_stage_with_a_builder_begins_and_is_carried_out_there(
    context: Callable[..., Any], carried_out: Callable[..., Any], inventory: Path
) -> None:
    """As any other."""
    operator = BuildPackageOperator()
    of_run = context(operator)
    adopt(of_run)
    callbacks.announce_start(of_run)
    begun = results()
    executor = operator.builder_turn.executor()
    carried_out(operator, report(BUILD_PACKAGE))
    operator.execute(of_run)

    assert begun["build_package"].status is None
    assert isinstance(executor, BuilderExecutor)
    assert results()["build_package"].status == Status.SUCCESS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ONE_BUILDER % "aarch64", "no builder of the inventory is x86_64"),
        ("builders: [", r"hosts.yml \(builders.inventory\) could not be read"),
    ],
)
def test_a_stage_for_which_there_is_no_builder_fails_with_a_sentence(
    context: Callable[..., Any], inventory: Path, text: str, reason: str
) -> None:
    """It does not wait for ever."""
    inventory.write_text(text, encoding="ascii")
    operator = BuildPackageOperator()
    with pytest.raises(Exception, match=reason):
        operator.execute(context(operator))
    ended = results()["build_package"]

    assert (ended.status, ended.fault) == (Status.FAILURE, Fault.INFRASTRUCTURE)


def test_stages_that_are_not_sent_away_stay_here(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them without an inventory."""
    here = [isinstance(BuilderTurn(settings.current(), COMPOSE_OSTREE).executor(), AnsibleExecutor)]
    monkeypatch.delenv("CI_PIPELINE_BUILDERS__INVENTORY")
    settings.current.cache_clear()
    here.append(type(BuilderTurn(settings.current(), BUILD_PACKAGE).executor()) is AnsibleExecutor)

    assert here == [True, True]
