"""The smoke test, and what is skipped with it where a run has no cluster."""

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, DownstreamTasksSkipped

from ci_pipeline import settings, store
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.stages import PROVISION_HOSTS, SMOKE_TEST
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Run
from operators.provision_hosts import ProvisionHostsOperator
from operators.smoke_test import SmokeTestOperator
from tests.makers import new_run, play, report

pytestmark = pytest.mark.usefixtures("database")
OF_THE_CLUSTER = ["provision_hosts", "configure_cluster", "await_cluster", "conformance_tests", "tear_down_cluster"]
NOT_WANTED = 'no conformance tests wanted: conformance.when = "never" in pipeline.toml'


@pytest.fixture
def when(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Say when there is to be a cluster."""

    def configure(value: str) -> None:
        monkeypatch.setenv("CI_PIPELINE_CONFORMANCE__CLUSTER", "k3s")
        monkeypatch.setenv("CI_PIPELINE_CONFORMANCE__WHEN", value)
        settings.current.cache_clear()

    return configure


@pytest.fixture
def booted(context: Callable[..., Any], carried_out: Callable[..., Any]) -> Callable[..., None]:
    """Boot the image of a run."""

    def boot(run: Run, status: Status = Status.SUCCESS, *, try_number: int = 1) -> None:
        operator = SmokeTestOperator()
        fault = {} if status is Status.SUCCESS else {"fault": Fault.PACKAGE}
        carried_out(operator, report(SMOKE_TEST, status, "", **fault))
        operator.execute(context(operator, run_id=run.run_id, try_number=try_number))

    return boot


def generated() -> Run:
    """Return a run that has made an image."""
    run = new_run()
    play(settings.current(), run, *[Status.SUCCESS] * 5)
    return run


def results(run: Run) -> list[tuple[str, int, str | None, str]]:
    """Return the tries of the steps of the cluster."""
    with store.session() as session:
        rows = runs.get(session, run.run_id).results
        return [(row.stage, row.try_number, row.status, row.reason) for row in rows if row.stage in OF_THE_CLUSTER]


def test_without_a_cluster_its_tasks_are_skipped_at_once(
    booted: Callable[..., None], when: Callable[[str], None]
) -> None:
    """None of them starts to find out. Why is written down as if the first one had."""
    when("never")
    run = generated()
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        booted(run)

    assert skipped.value.tasks == OF_THE_CLUSTER
    assert results(run)[0] == ("provision_hosts", 0, "SKIPPED", NOT_WANTED)
    assert [row[2] for row in results(run)] == ["SKIPPED"] * 4


def test_with_a_cluster_its_tasks_follow(booted: Callable[..., None], when: Callable[[str], None]) -> None:
    """As they do after every stage."""
    when("always")
    run = generated()
    booted(run)

    assert results(run) == []


def test_an_image_that_does_not_boot_skips_nothing(booted: Callable[..., None], when: Callable[[str], None]) -> None:
    """The run stops there."""
    when("never")
    run = generated()
    with pytest.raises(AirflowFailException):
        booted(run, Status.FAILURE)

    assert results(run) == []


def test_a_run_that_had_to_do_with_a_cluster_asks_for_itself(
    booted: Callable[..., None], when: Callable[[str], None]
) -> None:
    """Its first pass may have left one behind, which is torn down."""
    when("always")
    run = generated()
    with pytest.raises(AirflowFailException):
        booted(run, Status.FAILURE)
    with store.session() as session:
        Journal(session, settings.current()).begin_stage(runs.locked(session, run.id), PROVISION_HOSTS, 1)
    when("never")
    booted(run, try_number=2)

    assert [row[:2] for row in results(run)] == [("provision_hosts", 1)]


def test_one_that_was_skipped_runs_when_it_is_cleared(
    booted: Callable[..., None],
    when: Callable[[str], None],
    context: Callable[..., Any],
    carried_out: Callable[..., Any],
) -> None:
    """It had no try: Airflow's first is its first."""
    when("never")
    run = generated()
    with pytest.raises(DownstreamTasksSkipped):
        booted(run)
    when("always")
    operator = ProvisionHostsOperator()
    carried_out(operator, report(PROVISION_HOSTS))
    operator.execute(context(operator, run_id=run.run_id))

    assert ("provision_hosts", 1, "SUCCESS", "") in results(run)
