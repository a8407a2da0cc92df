"""Leases of hosts: what is written down before anybody is asked, and what of a provider's answer is believed."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.ci_stage import InfrastructureError

from tests.playbooks.stage_runs import module

if TYPE_CHECKING:
    from tests.playbooks.stage_runs import RunStage

HOST = {"name": "host-1", "address": "192.0.2.7", "user": "root", "arch": "x86_64", "id": "i-0a1"}
ASKED = {"provider": "duffy", "hosts_count": 1, "arch": "x86_64", "lent_until": 1.5}
REQUEST = {"lease": "ci-f26-1", "provider": "duffy", "hosts_count": 1, "arch": "x86_64"}


@pytest.fixture
def lease(tmp_path: Path) -> dict[str, Any]:
    """Return what names a lease that was begun, of one host."""
    named = {"lease": "ci-f26-1", "folder": str(tmp_path / "leases" / "ci-f26-1")}
    module("begin_lease").begin(named | ASKED)
    return named


def record(lease: dict[str, Any], *hosts: dict[str, Any]) -> dict[str, Any]:
    """Record these hosts and return the outputs."""
    outputs: dict[str, Any] = module("record_hosts").record({**lease, "provider": "duffy", "hosts": list(hosts)})
    return outputs["outputs"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "-oProxyCommand=x"),
        ("name", "host 1"),
        ("name", None),
        ("address", "192.0.2.300"),
        ("address", "-l"),
        ("address", "fe80::1%eth0"),
        ("address", "h;id"),
        ("address", ""),
        ("port", "22 -v"),
        ("port", 65_536),
        ("port", 0),
        ("user", "-v"),
        ("user", "root@h"),
        ("arch", "s390x"),
        ("id", "i; rm"),
        ("key", "/root/.ssh/id_ed25519"),
        ("key", "key.other"),
    ],
)
def test_what_a_provider_says_of_a_host_is_checked(lease: dict[str, Any], field: str, value: object) -> None:
    """It ends up in command lines. The sentence names the host and what is wrong; nothing is written."""
    with pytest.raises(InfrastructureError, match=rf"^the provider's host 1 has .* as its {field}; look at"):
        record(lease, HOST | {field: value})

    assert not (path_of(lease) / "hosts.json").exists()


def test_another_number_of_hosts_is_refused(lease: dict[str, Any]) -> None:
    """Fewer are not enough, and more are somebody else's."""
    with pytest.raises(InfrastructureError, match="duffy lent 2 hosts where 1 were asked for"):
        record(lease, HOST, HOST | {"name": "host-2"})


def test_hosts_of_a_lease_that_was_never_begun_are_refused(tmp_path: Path) -> None:
    """Nobody would find them again."""
    with pytest.raises(InfrastructureError, match="the lease ci-2 was never begun"):
        record({"lease": "ci-2", "folder": str(tmp_path / "none")}, HOST)


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/../b", "a" * 61])
def test_an_id_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    """It is a folder's name, and a tag at the provider."""
    with pytest.raises(InfrastructureError, match="is no id of a lease"):
        module("begin_lease").begin({"lease": name, "folder": str(tmp_path / "it"), **ASKED})

    assert not (tmp_path / "it").exists()


def test_the_folder_of_another_lease_is_left_alone(lease: dict[str, Any]) -> None:
    """What is begun there keeps its request."""
    with pytest.raises(InfrastructureError, match="is of the lease ci-f26-1, not ci-f26-2"):
        module("begin_lease").begin({**lease, "lease": "ci-f26-2", **ASKED})

    assert json.loads((path_of(lease) / "request.json").read_text())["lease"] == "ci-f26-1"


def test_a_lease_is_for_our_account_alone_and_keeps_its_key(lease: dict[str, Any]) -> None:
    """Begun again, it has what is asked for now, and the key that its hosts know."""
    folder = path_of(lease)
    key = (folder / "key").read_bytes()
    module("begin_lease").begin(lease | ASKED | {"lent_until": 2.5})

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in ("key", "request.json")} == {0o600}
    assert (folder / "key").read_bytes() == key
    assert json.loads((folder / "request.json").read_text()) == {**REQUEST, "until": 2.5}


def test_hosts_are_recorded_whole(lease: dict[str, Any]) -> None:
    """With the usual port and the lease's key; what else a provider told of them is left out."""
    outputs = record(lease, HOST | {"address": "host.example.org", "port": "2222", "hypervisor": "h7"})

    expected = HOST | {"address": "host.example.org", "port": 2222, "key": str(path_of(lease) / "key")}
    assert outputs == {"lease": "ci-f26-1", "provider": "duffy", "hosts": [expected]}
    assert json.loads((path_of(lease) / "hosts.json").read_text()) == outputs


def test_a_provider_without_a_role_leaves_a_lease_that_is_found(run_stage: RunStage, tmp_path: Path) -> None:
    """It fails for the infrastructure, and its request was written before."""
    folder = tmp_path / "leases" / "ci-1"
    result = run_stage(
        "provision",
        provision_lease="ci-1",
        provision_dir=str(folder),
        provision_hosts_count=1,
        provision_arch="x86_64",
        provision_until=1.5,
        provision_key=str(folder / "key"),
        provision={"provider": "nobody"},
    )

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert "provider_nobody" in result["reason"]
    assert json.loads((folder / "request.json").read_text())["provider"] == "nobody"


def path_of(lease: dict[str, Any]) -> Path:
    """Return the lease's folder."""
    return Path(lease["folder"])
