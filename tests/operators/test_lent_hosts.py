"""Stages are carried out on hosts that are lent for them, where the provider is another than qemu."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ci_pipeline import settings, store
from ci_pipeline.executors.report import Report
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.stages import INTEGRATION_TESTS
from ci_pipeline.store import host_leases
from operators.integration_tests import IntegrationTestsOperator
from operators.provision_hosts import ProvisionHostsOperator
from operators.tear_down_cluster import TearDownClusterOperator
from tests.lending import project
from tests.makers import COMPOSE_REV, new_run, play, report
from tests.operators.conftest import FakeExecutor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ci_pipeline.settings import Settings
    from ci_pipeline.store.tables import Run

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def composed(current: Settings) -> Run:
    """Return a run whose compose is made."""
    run = new_run()
    play(current, run, Status.SUCCESS, Status.SUCCESS, Status.SUCCESS)
    return run


def carry_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: str
) -> tuple[FakeExecutor, IntegrationTestsOperator, Path]:
    """Return an operator with the provider as it is to be, its executor, and a workspace."""
    for name, value in project(tmp_path, tmp_path / "provider", pool).items():
        monkeypatch.setenv(name, value)
    settings.current.cache_clear()
    operator, executor = IntegrationTestsOperator(), FakeExecutor(report(INTEGRATION_TESTS))
    operator.stage_executor = executor
    return executor, operator, tmp_path / "runs" / "integration_tests-1"


def test_without_a_host_the_infrastructure_is_at_fault(
    composed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage is not begun; the provider's sentence is the reason."""
    executor, operator, workspace = carry_out(composed, tmp_path, monkeypatch, "empty")
    ended = operator.carry_out(composed, workspace)

    assert (ended.status, ended.fault, ended.reason) == (Status.FAILURE, Fault.INFRASTRUCTURE, "no host is free")
    assert executor.request == {}
    assert list((tmp_path / "provider").iterdir()) == []


def test_the_stage_is_told_of_its_host_and_of_the_compose(
    composed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it has it; afterwards it is returned."""
    executor, operator, workspace = carry_out(composed, tmp_path, monkeypatch, "fine")
    there: list[str] = []
    executor.look = lambda _: there.extend(path.name for path in (tmp_path / "provider").iterdir())
    ended = operator.carry_out(composed, workspace)

    lease = host_leases.name_of(composed, "integration_tests", 1)
    assert ended.status == Status.SUCCESS
    assert [host["address"] for host in executor.request["test_hosts"]] == ["192.0.2.7"]
    assert executor.request["ostree_url"].endswith("/fedora-atomic/f26/ostree")
    assert there == [lease]
    with store.session() as session:
        assert host_leases.lent(session) == []


def test_hosts_of_a_cluster_stay_lent_until_it_is_torn_down(
    composed: Run, context: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step is told of them and of the image's commit; the last one returns them."""
    play(settings.current(), composed, *[Status.SUCCESS] * 3, first=3)
    monkeypatch.setenv("CI_PIPELINE_CONFORMANCE__CLUSTER", "k3s")
    for name, value in project(tmp_path, tmp_path / "provider", "fine").items():
        monkeypatch.setenv(name, value)
    settings.current.cache_clear()
    step, end = ProvisionHostsOperator(), TearDownClusterOperator()
    executor = FakeExecutor(Report(status=Status.SUCCESS, outputs={"cluster_hosts": []}))
    step.stage_executor, end.stage_executor = executor, FakeExecutor(Report(status=Status.SUCCESS))
    step.execute(context(step, run_id=composed.run_id))
    there = [path.name for path in (tmp_path / "provider").iterdir()]
    end.execute(context(end, run_id=composed.run_id))

    assert there == [host_leases.name_of(composed, "provision_hosts", 1)]
    assert [host["address"] for host in executor.request["test_hosts"]] == ["192.0.2.7"]
    assert executor.request["compose_rev"] == COMPOSE_REV
    assert executor.request["ostree_url"].endswith("/fedora-atomic/f26/ostree")
    assert list((tmp_path / "provider").iterdir()) == []
    with store.session() as session:
        assert host_leases.lent(session) == []
