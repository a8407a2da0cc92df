"""Provider duffy against a real Duffy, whose one host is a virtual machine that boots an image of the branch."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra.duffy_server import POOL, DuffyServer, agent_with, at_port_22, environment
from tests.playbooks.host.branches import LIMITS
from tests.playbooks.host.test_provider_qemu import disk_of
from tests.playbooks.host.test_provision_hosts import image, machines
from tests.playbooks.leases import lease_request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.playbooks.stage_runs import RunStage

__all__ = ["image"]
ADDRESS = "127.77.0.1"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="port 22 of an address of the loopback is root's to give"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment with Duffy."""
    return environment(tmp_path_factory.mktemp("duffy") / "environment")


@pytest.fixture
def machine(run_stage: RunStage, image: dict[str, str], tmp_path: Path) -> Iterator[Path]:
    """Run a host at port 22 of `ADDRESS`; return the key that opens it."""
    request = lease_request(tmp_path / "machine", "qemu")
    lent = run_stage("provision", **request, provision_disk=disk_of(image), limits=LIMITS)
    assert lent["status"] == "SUCCESS", lent["reason"]
    with at_port_22(ADDRESS, lent["outputs"]["hosts"][0]["port"]):
        yield tmp_path / "machine" / "key"
    for process in machines(tmp_path / "machine"):
        process.kill()


@pytest.fixture
def duffy(programs: Path, machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DuffyServer]:
    """Run a Duffy with that host in its pool."""
    folder = tmp_path / "duffy"
    folder.mkdir()
    server = DuffyServer(folder, programs)
    monkeypatch.setenv("CI_PIPELINE_PROVISION__DUFFY__KEY", server.key)
    with agent_with(machine) as agent, server.running(agent):
        yield server


def asked(duffy: DuffyServer, folder: Path, **changed: Any) -> dict[str, Any]:
    """Return the request of a lease of one host of the pool."""
    section = {"url": duffy.url, "username": "us", "pool": POOL, "identity": str(duffy.identity)}
    until = (datetime.now(UTC) + timedelta(hours=6)).timestamp()
    return lease_request(folder, "duffy", until=until, **(section | changed))


def test_a_host_of_a_pool_is_lent_and_returned(
    run_stage: RunStage, duffy: DuffyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through all that can go wrong on the way: a wrong key, an empty pool, an answer that never came."""
    lost, lent = tmp_path / "leases" / "ci-1", tmp_path / "leases" / "ci-2"
    empty = run_stage("provision", **asked(duffy, lost))
    with monkeypatch.context() as changed:
        changed.setenv("CI_PIPELINE_PROVISION__DUFFY__KEY", "00000000-0000-0000-0000-000000000000")
        refused = run_stage("provision", **asked(duffy, lost))
    away = run_stage("provision", **asked(duffy, lost, url="http://127.0.0.1:1/api/v1"))

    for result, sentence in (
        (empty, "pool hosts had no hosts for us within 5 s (provision.patience_seconds)"),
        (refused, "refuses tenant us: Unauthorized; look at provision.duffy.username and CI_PIPELINE_PROVISION__DUFFY"),
        (away, "Duffy at http://127.0.0.1:1/api/v1 does not answer"),
    ):
        assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
        assert sentence in result["reason"]

    duffy.add("node-1.example.org", ADDRESS)
    number = duffy.request()
    assert [one["id"] for one in duffy.sessions()] == [number]
    again = [run_stage("teardown", **asked(duffy, lost))["outputs"] for _ in range(2)]
    assert again == [{"returned": 1, "was_there": True}, {"returned": 0, "was_there": False}]
    assert duffy.sessions() == []

    duffy.remove("node-1.example.org")
    duffy.add("node-2.example.org", ADDRESS)
    first = run_stage("provision", **asked(duffy, lent))
    assert first["status"] == "SUCCESS", first["reason"]
    session = duffy.sessions()[0]
    second = run_stage("provision", **asked(duffy, lent))
    host = first["outputs"]["hosts"][0]
    inside = ["ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    inside += ["-o", "IdentitiesOnly=yes", "-i", host["key"], f"root@{host['address']}", "test -e /run/ostree-booted"]
    subprocess.run(inside, check=True)
    returned = run_stage("teardown", **asked(duffy, lent))

    assert second["outputs"] == first["outputs"]
    assert (host["name"], host["address"], host["port"], host["user"]) == ("node-2.example.org", ADDRESS, 22, "root")
    assert host["id"].startswith(f"{session['id']}/")
    assert datetime.fromisoformat(session["expires_at"]) > datetime.now(UTC) + timedelta(hours=5)
    assert returned["outputs"] == {"returned": 1, "was_there": True}
    assert duffy.sessions() == []
    assert duffy.key not in "".join(path.read_text() for path in tmp_path.glob("runner-*/artifacts/*/stdout"))
