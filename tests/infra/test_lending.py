"""Hosts of a provider for stages that fail, are tried again, or have hosts that boot what is composed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ci_pipeline import settings, store
from ci_pipeline.executors.report import Report, infrastructure_failure
from ci_pipeline.outcome import Status
from ci_pipeline.provisioning import Lender
from ci_pipeline.stages import INTEGRATION_TESTS
from ci_pipeline.store import host_leases
from operators.integration_tests import IntegrationTestsOperator
from operators.provision_hosts import ProvisionHostsOperator
from tests.lending import project
from tests.makers import new_run, play, report
from tests.operators.conftest import FakeExecutor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ci_pipeline.settings import Settings
    from ci_pipeline.store.tables import Run

    Use = Callable[[str, str], None]

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def use(current: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Return a function that has a provider lend the hosts, as it is to be."""

    def have(provider: str, how: str) -> None:
        monkeypatch.setenv("CI_PIPELINE_CONFORMANCE__CLUSTER", "k3s")
        for name, value in project(tmp_path, tmp_path / "provider", how, provider).items():
            monkeypatch.setenv(name, value)
        settings.current.cache_clear()

    return have


def played(*, stages: int) -> Run:
    """Return a run that so many stages have ended well of."""
    run = new_run()
    play(settings.current(), run, *[Status.SUCCESS] * stages)
    return run


def lent() -> list[str]:
    """Return the leases that are not returned."""
    with store.session() as session:
        return [lease.name for lease, _ in host_leases.lent(session)]


def test_hosts_of_a_cluster_are_returned_at_once_when_they_cannot_be_taken(use: Use, tmp_path: Path) -> None:
    """The next try is lent its own; what an earlier one kept goes first."""
    use("duffy", "fine")
    run, operator = played(stages=6), ProvisionHostsOperator()
    with Lender(settings.current()).lent(run, "provision_hosts", 1, count=1) as kept:
        kept.keep = True
    before, during = lent(), []
    operator.stage_executor = executor = FakeExecutor(infrastructure_failure("node-1 runs no OSTree"))
    executor.look = lambda _: during.extend(lent())
    ended = operator.carry_out(run, tmp_path / "runs" / "provision_hosts-2")

    assert before == [host_leases.name_of(run, "provision_hosts", 1)]
    assert during == [host_leases.name_of(run, "provision_hosts", 2)]
    assert (ended.status, ended.reason) == (Status.FAILURE, "node-1 runs no OSTree")
    assert lent() == list((tmp_path / "provider").iterdir()) == []


class TwoPlaybooks(FakeExecutor):
    """Leaves a disk when it is asked for one."""

    def run(self, request: dict[str, Any], *, workspace: Path) -> Report:
        if request["stage"] != "provision_disk":
            return super().run(request, workspace=workspace)
        (workspace / "disk.qcow2").touch()
        return Report(status=Status.SUCCESS, outputs={"disk": str(workspace / "disk.qcow2")})


def test_a_provider_that_boots_what_is_composed_is_given_the_disk(use: Use, tmp_path: Path) -> None:
    """It is written before the provider is asked, and removed when the host is returned."""
    use("libvirt", "fine")
    run, operator = played(stages=3), IntegrationTestsOperator()
    workspace, told = tmp_path / "runs" / "integration_tests-1", []
    operator.stage_executor = executor = TwoPlaybooks(report(INTEGRATION_TESTS))
    executor.look = lambda _: told.extend(path.read_text() for path in (tmp_path / "provider").iterdir())
    ended = operator.carry_out(run, workspace)

    assert ended.status == Status.SUCCESS
    assert told == [str(workspace / "provision_disk" / "disk.qcow2")]
    assert executor.request["ostree_url"] == ""
    assert [host["address"] for host in executor.request["test_hosts"]] == ["192.0.2.7"]
    assert not (workspace / "provision_disk").exists()
    assert lent() == []


def test_without_a_disk_nobody_is_asked_for_a_host(use: Use, tmp_path: Path) -> None:
    """Why there is none is the reason."""
    use("libvirt", "fine")
    run, operator = played(stages=3), IntegrationTestsOperator()
    operator.stage_executor = FakeExecutor(infrastructure_failure("GRUB for BIOS is not installed"))
    ended = operator.carry_out(run, tmp_path / "runs" / "integration_tests-1")

    assert (ended.status, ended.reason) == (Status.FAILURE, "GRUB for BIOS is not installed")
    assert lent() == []
