"""Provider aws against moto's EC2. Its instances never boot, so nobody waits for their SSH here: test_await_ssh.py."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.infra.providers.ec2 import REGION, alive, client, keys, moto, recorded, without_room
from tests.playbooks.leases import lease_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.playbooks.stage_runs import RunStage

DOCS = Path(__file__).parents[3] / "docs" / "provisioning-clouds.md"
POLICY = re.compile(r"```json\n(.*?)```", re.DOTALL)
SECRET = "canary-of-the-secret-key"  # noqa: S105 - made up


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for all tests of the module; its URL."""
    with moto(tmp_path_factory.mktemp("moto") / "log") as url:
        yield url


@pytest.fixture
def ec2(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server's URL, with nothing in it and an account in the environment."""
    requests.post(f"{server}/moto-api/reset", timeout=30).raise_for_status()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return server


@pytest.fixture
def lend(run_stage: RunStage, ec2: str, folder: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that runs a playbook of leases; keys given override the section."""
    image = client(ec2).describe_images()["Images"][0]["ImageId"]
    common = {"region": REGION, "image": image, "instance_type": "t3.small", "user": "fedora", "endpoint": ec2}

    def run(playbook: str, *, hosts: int = 2, **section: str) -> dict[str, Any]:
        asked = lease_request(folder, "aws", hosts=hosts, **(common | {"subnet": "", "security_group": ""} | section))
        return run_stage(playbook, **asked, provision_await_ssh=False)

    return run


def failed(result: dict[str, Any]) -> str:
    """Return the reason of a result that has to be a failure of the infrastructure."""
    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    return str(result["reason"])


def test_an_image_that_is_not_there_is_named(lend: Any, ec2: str) -> None:
    """Nothing is launched; the key is removed with the lease."""
    reason = failed(lend("provision", image="ami-00000000000000000"))
    left = keys(ec2)

    assert reason.startswith(f"region {REGION} has no image ami-00000000000000000: set provision.aws.image (it said: ")
    assert (alive(ec2), left) == ({}, ["ci-f26-1-integration"])
    assert lend("teardown")["outputs"] == {"returned": 0, "was_there": True}
    assert keys(ec2) == []


def test_no_room_is_told(lend: Any, ec2: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later try may get it. The answer is our own server's: moto always has room."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with without_room(ec2) as full:
        reason = failed(lend("provision", endpoint=full))

    assert reason.startswith("EC2 has no room for a t3.small now: try again, or set provision.aws.instance_type (it")
    assert alive(ec2) == {}


def test_credentials_that_are_refused_are_told(lend: Any, ec2: str, tmp_path: Path) -> None:
    """What they are is said nowhere."""
    requests.post(f"{ec2}/moto-api/reset-auth", data=b"0", timeout=30).raise_for_status()
    try:
        reason = failed(lend("provision"))
    finally:
        requests.post(f"{ec2}/moto-api/reset-auth", data=b"inf", timeout=30)

    assert reason.startswith("EC2 does not accept our credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    assert with_secret(tmp_path) == []


def test_no_credentials_are_told(lend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked who we are."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    assert failed(lend("provision")).startswith("EC2 does not accept our credentials: set AWS_ACCESS_KEY_ID")


def test_a_region_that_is_none_is_told(lend: Any) -> None:
    """Its address is no host of Amazon's."""
    reason = failed(lend("provision", region="atlantis-1", endpoint="http://127.0.0.1:1"))

    assert reason.startswith("EC2 cannot be reached in region atlantis-1: set provision.aws.region, or look at")


def test_lent_again_they_are_the_same_and_returned_they_are_gone(lend: Any, ec2: str, tmp_path: Path) -> None:
    """Everything bears the lease; twice is as good as once; the secret is in no file."""
    first, again = lend("provision"), lend("provision")
    there, imported = alive(ec2), keys(ec2)
    returned = [lend("teardown")["outputs"] for _ in range(2)]

    assert (first["status"], first["reason"]) == ("SUCCESS", "")
    assert again["outputs"] == first["outputs"]
    assert [host["id"] for host in first["outputs"]["hosts"]] == sorted(there)
    assert [host["name"] for host in first["outputs"]["hosts"]] == ["host-1", "host-2"]
    marks = {"owner": "ci-pipeline", "ci-pipeline-lease": "ci-f26-1-integration", "ci-pipeline-until": "4000000000"}
    assert [tags for tags in there.values() if marks.items() <= tags.items()] == list(there.values())
    assert imported == ["ci-f26-1-integration"]
    assert returned == [{"returned": 2, "was_there": True}, {"returned": 0, "was_there": False}]
    assert (alive(ec2), keys(ec2)) == ({}, [])
    assert with_secret(tmp_path) == []


def test_hosts_whose_lease_was_lost_are_found_and_returned(lend: Any, ec2: str, folder: Path) -> None:
    """By their tags alone."""
    lend("provision")
    shutil.rmtree(folder)
    found = lend("find_leases")["outputs"]["lent"]

    assert [(one["lease"], one["until"]) for one in found] == [("ci-f26-1-integration", 4_000_000_000)] * 2
    assert sorted(one["id"] for one in found) == sorted(alive(ec2))
    assert lend("teardown")["outputs"] == {"returned": 2, "was_there": False}
    assert (alive(ec2), keys(ec2)) == ({}, [])


def test_hosts_of_a_lost_list_are_lent_again(lend: Any, folder: Path) -> None:
    """The try that launched them may have ended before it wrote them down; one of them was lost meanwhile."""
    first = lend("provision")
    (folder / "hosts.json").unlink()
    again = lend("provision")

    assert again["outputs"] == first["outputs"] == json.loads((folder / "hosts.json").read_text())


def test_a_host_that_was_lost_is_replaced(lend: Any, ec2: str) -> None:
    """The others stay; a lease returned and begun again has new ones."""
    first = [host["id"] for host in lend("provision")["outputs"]["hosts"]]
    client(ec2).terminate_instances(InstanceIds=first[:1])
    second = [host["id"] for host in lend("provision")["outputs"]["hosts"]]
    lend("teardown")
    third = [host["id"] for host in lend("provision")["outputs"]["hosts"]]

    assert len(set(second) & set(first)) == 1
    assert len(second) == len(third) == 2
    assert not set(third) & set(second)


@pytest.mark.timeout(900)
def test_the_policy_of_the_docs_allows_what_is_asked_for_and_no_more(lend: Any, ec2: str) -> None:
    """From a first lease to the return of one that was lent again, with a host that was stopped, and with a group."""
    group = client(ec2).describe_security_groups()["SecurityGroups"][0]["GroupName"]
    subnet = client(ec2).describe_subnets()["Subnets"][0]["SubnetId"]
    with recorded(ec2) as (url, asked):
        host = lend("provision", endpoint=url, hosts=1)["outputs"]["hosts"][0]["id"]
        client(ec2).stop_instances(InstanceIds=[host])
        results = [lend(playbook, endpoint=url, hosts=1) for playbook in ("provision", "find_leases", "teardown")]
        narrow = {"subnet": subnet, "security_group": group}
        results += [lend(playbook, endpoint=url, hosts=1, **narrow) for playbook in ("provision", "teardown")]
    documented = json.loads(POLICY.search(DOCS.read_text(encoding="utf-8"))[1])  # type: ignore[index]
    allowed = {action for one in documented["Statement"] for action in one["Action"]}

    assert [(one["status"], one["reason"]) for one in results] == [("SUCCESS", "")] * 5
    # EC2 asks for this right, too, of who launches or imports with tags.
    assert {f"ec2:{action}" for action in asked} | {"ec2:CreateTags"} == allowed


def with_secret(tmp_path: Path) -> list[str]:
    """Return the files that have the secret in them, but for what ansible-runner writes of the environment it had.

    The pipeline's executor has it write none.
    """
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "command"]
    return [str(path) for path in files if SECRET.encode() in path.read_bytes()]
