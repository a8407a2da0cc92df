"""Provider openstack through the real collection and openstacksdk, against a stand-in for the cloud: nothing boots."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra.providers import openstack_stand_in
from tests.infra.providers.openstack_stand_in import IMAGE, USER, Cloud
from tests.playbooks.leases import lease_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.playbooks.stage_runs import RunStage

LEASE = "ci-f26-1-integration"
OTHERS = {"id": "other", "name": f"{LEASE}-of-somebody", "status": "ACTIVE", "metadata": {}, "addresses": {}}
OTHERS |= {"security_groups": [], "tags": [], "tenant_id": openstack_stand_in.PROJECT}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A cloud, with an account in the environment."""
    with openstack_stand_in.running() as running:
        account = {"AUTH_URL": f"{running.url}/identity/v3", "USERNAME": USER, "PASSWORD": running.password}
        account |= {"PROJECT_NAME": "ci", "USER_DOMAIN_NAME": "Default", "PROJECT_DOMAIN_NAME": "Default"}
        for name, value in account.items():
            monkeypatch.setenv(f"OS_{name}", value)
        yield running
        assert running.unknown == []


@pytest.fixture
def lend(run_stage: RunStage, folder: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that runs a playbook of leases; keys given override the section."""
    common = {"cloud": "", "image": IMAGE["name"], "flavor": "m1.small", "network": "inside", "user": "fedora"}

    def run(playbook: str, *, hosts: int = 2, floating: bool = True, **section: str) -> dict[str, Any]:
        asked = lease_request(folder, "openstack", hosts=hosts, **(common | {"security_group": ""} | section))
        asked["provision"]["patience_seconds"] = 20
        return run_stage(playbook, **asked, provision_await_ssh=False, provider_openstack_floating=floating)

    return run


def failed(result: dict[str, Any]) -> str:
    """Return the reason of a result that has to be a failure of the infrastructure."""
    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    return str(result["reason"])


def test_lent_again_they_are_the_same_and_returned_they_are_gone(lend: Any, cloud: Cloud, tmp_path: Path) -> None:
    """Everything bears the lease; twice is as good as once; the password is in no file."""
    first = lend("provision")
    assert first["status"] == "SUCCESS", first["reason"]
    again = lend("provision")
    there = [dict(one) for one in cloud.servers.values()]
    keys, floating = list(cloud.keys), [one["floating_ip_address"] for one in cloud.floating.values()]
    returned = [lend("teardown")["outputs"] for _ in range(2)]

    assert again["outputs"] == first["outputs"]
    hosts = first["outputs"]["hosts"]
    assert [(host["name"], host["id"], host["user"]) for host in hosts] == [
        ("host-1", there[0]["id"], "fedora"),
        ("host-2", there[1]["id"], "fedora"),
    ]
    assert [host["address"] for host in hosts] == floating
    marks = {"owner": "ci-pipeline", "ci-pipeline-lease": LEASE, "ci-pipeline-until": "4000000000"}
    assert [(one["name"], one["metadata"]) for one in there] == [(f"{LEASE}-1", marks), (f"{LEASE}-2", marks)]
    assert [one["security_groups"] for one in there] == [[{"name": "default"}]] * 2
    assert keys == [LEASE]
    assert returned == [{"returned": 2, "was_there": True}, {"returned": 0, "was_there": False}]
    assert (cloud.servers, cloud.keys, cloud.floating) == ({}, {}, {})
    assert with_password(tmp_path, cloud.password) == []


def test_hosts_whose_lease_was_lost_are_found_and_returned(lend: Any, cloud: Cloud, folder: Path) -> None:
    """By their marks alone; a server without them, and a free address of the project, are left alone."""
    cloud.servers["other"] = dict(OTHERS)
    cloud.floating["mine"] = {"id": "mine", "floating_ip_address": "192.0.2.9", "port_id": None, "status": "DOWN"}
    cloud.floating["mine"] |= {"floating_network_id": "n-out", "project_id": openstack_stand_in.PROJECT}
    lend("provision")
    shutil.rmtree(folder)
    found = lend("find_leases")["outputs"]["lent"]
    returned = lend("teardown")["outputs"]

    assert [(one["lease"], one["until"]) for one in found] == [(LEASE, 4_000_000_000)] * 2
    assert returned == {"returned": 2, "was_there": False}
    assert (list(cloud.servers), list(cloud.floating), cloud.keys) == (["other"], ["mine"], {})


def test_a_host_that_was_lost_and_one_that_failed_are_replaced(lend: Any, cloud: Cloud) -> None:
    """Without floating addresses, where the pipeline reaches the hosts' network. The third stays."""
    first = lend("provision", hosts=3, floating=False)["outputs"]["hosts"]
    del cloud.servers[first[0]["id"]]
    cloud.servers[first[1]["id"]]["status"] = "ERROR"
    second = lend("provision", hosts=3, floating=False)
    returned = lend("teardown", floating=False)["outputs"]

    assert second["status"] == "SUCCESS", second["reason"]
    hosts = second["outputs"]["hosts"]
    assert [host["address"].rpartition(".")[0] for host in hosts] == ["10.1.0"] * 3
    assert [host["id"] in {one["id"] for one in first} for host in hosts] == [False, False, True]
    assert cloud.floating == {}
    assert returned == {"returned": 3, "was_there": True}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"image": "none"}, "the cloud has no image none: set provision.openstack.image (it said: "),
        ({"flavor": "m9"}, "the cloud has no flavor m9: set provision.openstack.flavor (it said: "),
        ({"network": "nowhere"}, "the cloud has no network nowhere: set provision.openstack.network (it said: "),
        ({"security_group": "g"}, "the cloud has no security group g: set provision.openstack.security_group (it said"),
        (
            {"cloud": "ours"},
            "there is no cloud 'ours' to log in to: write clouds.yaml, or set OS_AUTH_URL and what goe",
        ),
    ],
)
def test_what_the_cloud_has_not_is_named(lend: Any, cloud: Cloud, wrong: dict[str, str], sentence: str) -> None:
    """Nothing is made but the key, which goes with the lease."""
    reason = failed(lend("provision", **wrong))

    assert reason.startswith(sentence)
    assert cloud.servers == {}


def test_a_quota_that_is_used_up_is_told(lend: Any, cloud: Cloud) -> None:
    """What was made before it was goes with the lease."""
    cloud.quota = 1
    reason = failed(lend("provision"))
    made = len(cloud.servers)

    assert reason.startswith("the project's quota is used up: return hosts, or have it raised (it said: ")
    assert (made, lend("teardown")["outputs"]) == (1, {"returned": 1, "was_there": True})
    assert (cloud.servers, cloud.floating, cloud.keys) == ({}, {}, {})


def test_credentials_that_are_refused_are_told(lend: Any, cloud: Cloud, tmp_path: Path) -> None:
    """What they are is said nowhere."""
    given, cloud.password = cloud.password, "another"
    reasons = [failed(lend(playbook)) for playbook in ("provision", "teardown")]

    assert [reason.startswith("OpenStack does not accept our credentials: look at") for reason in reasons] == [True] * 2
    assert with_password(tmp_path, given) == []


def test_a_cloud_that_is_away_is_told(lend: Any, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to look at."""
    monkeypatch.setenv("OS_AUTH_URL", "http://127.0.0.1:1/identity/v3")

    assert failed(lend("provision")).startswith("the cloud cannot be reached: look at its address, and the network (it")


def test_a_server_that_fails_is_told_with_what_the_cloud_says(lend: Any, cloud: Cloud) -> None:
    """All of them are the lease's, and returned with it."""
    cloud.broken = True
    reason = failed(lend("provision"))

    assert reason.startswith("the cloud has no room for a m1.small now: try again, or set provision.openstack.flavor (")
    assert lend("teardown")["outputs"] == {"returned": 2, "was_there": True}
    assert (cloud.servers, cloud.keys) == ({}, {})


def with_password(tmp_path: Path, password: str) -> list[str]:
    """Return the files that have the password in them, but for what ansible-runner writes of the environment it had.

    The pipeline's executor has it write none.
    """
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "command"]
    return [str(path) for path in files if password.encode() in path.read_bytes()]
