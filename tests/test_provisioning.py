"""Hosts are lent for a try and returned however it ends; what a killed worker leaves is found and returned."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import psutil
import pytest
from sqlalchemy import update

from ci_pipeline import orphans, provisioning, settings, store
from ci_pipeline.errors import ExecutorError
from ci_pipeline.journal import Journal
from ci_pipeline.provision_sections import Provision
from ci_pipeline.provisioning import Lender, environment_of
from ci_pipeline.stages import INTEGRATION_TESTS, PROVISION_HOSTS
from ci_pipeline.store import host_leases, leases, runs
from ci_pipeline.store.host_leases import Wanted
from ci_pipeline.store.host_tables import HostLease
from tests.lending import KEY, project
from tests.makers import new_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ci_pipeline.settings import Settings
    from ci_pipeline.store.tables import Run

    UseProvider = Callable[[str], Settings]

pytestmark = pytest.mark.usefixtures("database")
STAGE = INTEGRATION_TESTS.name
WORKER = """
import sys
from ci_pipeline import settings, store
from ci_pipeline.provisioning import Lender
from ci_pipeline.store.tables import Run
with store.session() as session:
    run = session.get_one(Run, int(sys.argv[1]))
with Lender(settings.load()).lent(run, "integration_tests", 1, count=1):
    raise AssertionError
"""


@pytest.fixture
def use_provider(current: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UseProvider:
    """Return a function that makes the provider as it is to be, and returns the settings."""

    def use(pool: str) -> Settings:
        for name, value in project(tmp_path, tmp_path / "provider", pool).items():
            monkeypatch.setenv(name, value)
        settings.current.cache_clear()
        return settings.load()

    return use


@pytest.fixture
def run(current: Settings) -> Run:
    """Return a run whose integration tests are at work."""
    run = new_run()
    with store.session() as session:
        Journal(session, current).begin_stage(runs.locked(session, run.id), INTEGRATION_TESTS, 1)
    return run


def lost_a_while_ago(run: Run, *, by: timedelta = timedelta(minutes=2)) -> None:
    """Let the try have ended."""
    with store.session() as session:
        this = runs.latest_results(session, run.id)[STAGE]
        this.status, this.ended_at = "FAILURE", host_leases.time_of(session) - by


def lease_of(run: Run) -> HostLease:
    """Return the lease as the database has it."""
    with store.session() as session:
        return host_leases.named(session, host_leases.name_of(run, STAGE, 1))


def test_hosts_are_returned_when_the_stage_breaks_off(run: Run, use_provider: UseProvider, tmp_path: Path) -> None:
    """While they are lent, row and provider have them; after that neither does, and nothing of the lease is left."""
    configured = use_provider("fine")
    with contextlib.suppress(ZeroDivisionError), Lender(configured).lent(run, STAGE, 1, count=1) as lent:
        during, there = lease_of(run), [path.name for path in (tmp_path / "provider").iterdir()]
        folder = provisioning.folder_of(configured, during.name)
        assert (folder / "key").exists()
        raise ZeroDivisionError
    after = lease_of(run)
    files = [path for path in configured.state.rglob("runs/**/provision/**/*") if path.is_file()]

    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert [host["address"] for host in during.hosts] == [host["address"] for host in lent.hosts] == ["192.0.2.7"]
    assert there == [during.name]
    assert (during.returned_at, after.returned_at is None) == (None, False)
    assert list((tmp_path / "provider").iterdir()) == []
    assert not folder.exists()


def test_a_lease_is_found_whose_worker_was_killed(
    run: Run, use_provider: UseProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while the provider makes the host: nothing is recorded but that it was asked for."""
    use_provider("slow")
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(run.id)], env=_environment(), stderr=subprocess.DEVNULL
    )
    wait_until(lambda: len(list((tmp_path / "provider").iterdir())) == 1)
    worker.kill()
    worker.wait()
    with store.session() as session:
        going_on = host_leases.leaked(session)
    lost_a_while_ago(run)
    monkeypatch.setattr(orphans, "_FOLDING_UP_SECONDS", 0)
    orphans.end_all(settings.load())
    left = [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(one.info["cmdline"] or [])]
    _, alive = psutil.wait_procs(left, timeout=10)
    returned = provisioning.return_leaked(settings.load())

    assert (going_on, alive) == ([], [])
    assert [who for who, _ in returned] == [run.run_id]
    assert list((tmp_path / "provider").iterdir()) == []
    assert provisioning.return_leaked(settings.load()) == []


def test_a_try_that_has_just_ended_returns_its_hosts_itself(run: Run, use_provider: UseProvider) -> None:
    """So does one that goes on, until its time is over."""
    use_provider("fine")
    with store.session() as session:
        wanted = host_leases.Wanted("duffy", 1, 1)
        host_leases.begin(session, run, STAGE, 1, wanted)
    found = partial(_leaked)
    before = found()
    lost_a_while_ago(run, by=timedelta(seconds=5))
    just = found()
    with store.session() as session:
        session.execute(update(HostLease).values(until=host_leases.time_of(session)))
    over = found()

    assert (before, just, over) == ([], [], [host_leases.name_of(run, STAGE, 1)])


def test_hosts_of_a_cluster_are_its_runs_as_long_as_it_has_it(run: Run) -> None:
    """However long ago the step ended that lent them."""
    stage = PROVISION_HOSTS.name
    with store.session() as session:
        leases.acquire(session, name="cluster f26", run=run.id)
        lease = host_leases.begin(session, run, stage, 1, Wanted("duffy", 2, 1))
        lease.asked_at = host_leases.time_of(session) - timedelta(minutes=2)
        host_leases.begin(session, run, STAGE, 1, Wanted("duffy", 1, 1))
        host_leases.begin(session, new_run(rev="a" * 40), stage, 1, Wanted("duffy", 2, 1))
        for_nothing = host_leases.begin(session, run, stage, 2, Wanted("duffy", 2, 1))
        host_leases.returned(session, for_nothing.name)
    during = _leaked()
    with store.session() as session:
        leases.release_cluster(session, run=run.id)
        listed = [one.name for one in host_leases.lent_to(session, run, stage)]

    assert during == []
    assert _leaked() == listed == [lease.name]


def test_hosts_of_another_machine_are_returned_there(
    run: Run, use_provider: UseProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """Here they are not known: nobody would be asked, and the lease would be gone. The reconciler is silent."""
    configured = use_provider("fine")
    with store.session() as session:
        lease = host_leases.begin(session, run, STAGE, 1, Wanted("libvirt", 1, 1, "worker-2"))
    lost_a_while_ago(run)
    returned = provisioning.return_leaked(configured)

    with pytest.raises(ExecutorError, match=f"^its hosts are on worker-2, .*`ci-pipeline leases return {lease.name}`"):
        Lender(configured).give_back(lease, run)

    assert (returned, caplog.text) == ([], "")
    assert _leaked() == [lease.name]


def test_hosts_of_this_machine_are_known_here_alone() -> None:
    """Those of a pool are everybody's, and so are those of a libvirt elsewhere."""
    told = [{"provider": "qemu"}, {"provider": "libvirt"}, {"libvirt": {"uri": "qemu+ssh://lab/system"}}]
    found = [Provision.model_validate({"provider": "libvirt"} | one).is_of_this_machine for one in told]

    assert found == [True, True, False]


def test_playbooks_of_a_provider_have_its_secrets_and_no_others(use_provider: UseProvider) -> None:
    """Those of the tools by how they begin; qemu needs none."""
    configured = use_provider("fine")
    environment = {"AWS_PROFILE": "a", "OS_CLOUD": "o", "CI_PIPELINE_DATABASE__URL": "d", "HOME": "/"}
    environment |= {"XDG_RUNTIME_DIR": "/run/user/1", "XDG_DATA_HOME": "/home/data"}

    assert environment_of(configured, "aws", environment) == {"AWS_PROFILE": "a"}
    assert environment_of(configured, "openstack", environment) == {"OS_CLOUD": "o"}
    assert environment_of(configured, "duffy", environment) == {"CI_PIPELINE_PROVISION__DUFFY__KEY": KEY}
    assert environment_of(configured, "libvirt", environment) == {"XDG_RUNTIME_DIR": "/run/user/1"}
    assert environment_of(configured, "qemu", environment) == {}


def test_hosts_are_of_the_architecture_of_the_branch(run: Run, current: Settings, tmp_path: Path) -> None:
    """Not of the others'."""
    branch = current.branches[run.branch].model_copy(update={"arch": "aarch64"})
    lease = store.transact(partial(host_leases.begin, run=run, stage=STAGE, try_number=1, wanted=Wanted("duffy", 1, 1)))
    lender = Lender(current.model_copy(update={"branches": {run.branch: branch}}))

    assert lender._request(provisioning.PROVISION, lease, run, tmp_path)["provision_arch"] == "aarch64"


def test_two_runs_have_two_leases(current: Settings) -> None:
    """Two pipelines may have runs of the same name and number, and one account; a run's own is the same each time."""
    one = new_run()
    again = host_leases.name_of(one, STAGE, 1)
    one.created_at += timedelta(microseconds=1)

    assert again.startswith("ci-f26-1-integration-tests-1-")
    assert again != host_leases.name_of(one, STAGE, 1)
    assert len(again) <= 60


def _leaked() -> list[str]:
    with store.session() as session:
        return [lease.name for lease, _ in host_leases.leaked(session)]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what is bound to come."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
