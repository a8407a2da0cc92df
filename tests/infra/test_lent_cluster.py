"""A cluster on hosts of a pool: as Airflow runs its steps, with a real Duffy whose host is a virtual machine.

The machine boots an older compose, and is put on the image's commit. What is installed is a stand-in for k3s.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from ci_pipeline import settings, store
from ci_pipeline.outcome import Status
from ci_pipeline.store import host_leases, leases, runs
from ci_pipeline.store.tables import Image
from operators.configure_cluster import ConfigureClusterOperator
from operators.provision_hosts import ProvisionHostsOperator
from operators.tear_down_cluster import TearDownClusterOperator
from tests.infra.duffy_server import POOL, DuffyServer, agent_with, at_port_22
from tests.infra.test_lent_host import pool_host, serving
from tests.infra.test_provider_duffy import ADDRESS, programs
from tests.makers import new_run, play
from tests.playbooks.cluster.test_take_hosts import tunnels
from tests.playbooks.host.test_provision_hosts import K3S, said, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ci_pipeline.settings import Settings
    from ci_pipeline.store.tables import Run
    from tests.playbooks.host.branches import Branch, BuildCandidate

__all__ = ["pool_host", "programs"]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="port 22 of an address of the loopback is root's to give"),
    pytest.mark.timeout(1200),
    pytest.mark.usefixtures("database"),
]
LIMITS = '{"seconds": 600, "boot_seconds": 300, "free_mb": 1}'


@pytest.fixture
def duffy(programs: Path, pool_host: dict[str, Any], tmp_path: Path) -> Iterator[DuffyServer]:
    """Run a Duffy with the machine in its pool."""
    folder = tmp_path / "duffy"
    folder.mkdir()
    server = DuffyServer(folder, programs)
    with (
        at_port_22(ADDRESS, pool_host["port"]),
        agent_with(tmp_path / "leases" / "ci-pool" / "key") as agent,
        server.running(agent),
    ):
        server.add("node-1.example.org", ADDRESS)
        yield server


@pytest.fixture
def pipeline(
    current: Settings, duffy: DuffyServer, branch: Branch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Have the settings say who lends hosts, what is installed on them, and where they get the compose from."""
    k3s = tmp_path / "k3s"
    k3s.write_text(K3S, encoding="ascii")
    below = tmp_path / "artifacts" / "fedora-atomic"
    below.mkdir(parents=True)
    (below / "f26").symlink_to(branch.folder)
    values = {
        "ARTIFACTS__FOLDER": str(tmp_path / "artifacts"),
        "CONFORMANCE__CLUSTER": "k3s",
        "CONFORMANCE__K3S__PROGRAM": str(k3s),
        "CONFORMANCE__K3S__SHA256": sha256(k3s),
        "PROVISION__PROVIDER": "duffy",
        "PROVISION__PATIENCE_SECONDS": "5",
        "PROVISION__DUFFY__URL": duffy.url,
        "PROVISION__DUFFY__POOL": POOL,
        "PROVISION__DUFFY__USERNAME": "us",
        "PROVISION__DUFFY__KEY": duffy.key,
        "PROVISION__DUFFY__IDENTITY": str(duffy.identity),
        "STAGES__PROVISION_HOSTS__LIMITS": LIMITS,
        "STAGES__CONFIGURE_CLUSTER__LIMITS": LIMITS,
    }
    with serving(tmp_path / "artifacts") as address:
        for name, value in (values | {"ARTIFACTS__URL": address}).items():
            monkeypatch.setenv(f"CI_PIPELINE_{name}", value)
        settings.current.cache_clear()
        yield


@pytest.fixture
def run(pipeline: None, branch: Branch, build_candidate: BuildCandidate) -> Run:
    """Return a run whose image, of a newer compose than the machine's, has booted."""
    composed = branch.compose(build_candidate("1.1"), build_id=8)
    assert composed["status"] == "SUCCESS", composed["reason"]
    run = new_run()
    play(settings.current(), run, *[Status.SUCCESS] * 6)
    with store.session() as session:
        session.execute(update(Image).values(compose_rev=composed["outputs"]["compose_rev"]))
    return run


def test_a_cluster_stands_on_hosts_of_a_pool(
    run: Run, duffy: DuffyServer, context: Callable[..., Any], published: object, tmp_path: Path
) -> None:
    """On the image's commit; the hosts are the cluster's until it is torn down, and the pool's again then."""
    provision, install, end = ProvisionHostsOperator(), ConfigureClusterOperator(), TearDownClusterOperator()
    provision.execute(context(provision, run_id=run.run_id))
    with store.session() as session:
        (lease,) = [lease for lease, _ in host_leases.lent(session)]
        (host,) = runs.outputs(session, run.id)["cluster_hosts"]
        leaked = host_leases.leaked(session)
    during = duffy.sessions()
    install.execute(context(install, run_id=run.run_id))
    with store.session() as session:
        versions = runs.outputs(session, run.id)["cluster_versions"]
    answered = said(host["api_port"])
    end.execute(context(end, run_id=run.run_id))
    end.execute(context(end, run_id=run.run_id, try_number=2))
    with store.session() as session:
        left, holds = host_leases.lent(session), leases.has_cluster(session, run=run.id)

    assert (lease.stage, len(lease.hosts), leaked, len(during)) == ("provision_hosts", 1, [], 1)
    assert (host["name"], host["address"], host["inside"]) == ("node-1.example.org", ADDRESS, "10.0.2.15")
    assert versions == {"k3s": "v1.30.4+k3s1"}
    assert answered == b"the API\n"
    assert (duffy.sessions(), left, holds) == ([], [], False)
    assert tunnels(settings.current().state / "runs") == []
