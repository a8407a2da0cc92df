"""Provider linchpin with a stand-in for the program: it records how it was called, and writes what linch-pin writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.ci_stage import InfrastructureError

from tests.playbooks.stage_runs import module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINCHPIN = """#!/bin/sh
# A stand-in for linchpin: it says how it was called, and leaves an inventory.
printf '%s\\n' "$@" >>{said}
for last; do :; done
case " $* " in *" up "*) ;; *) exit 0 ;; esac
[ "$last" = broken ] && {{ echo "Task 'provision' failed" >&2; exit 1; }}
mkdir -p inventories
cat >inventories/$last-7735aa.inventory <<'END'
[all]
192.0.2.20 hostname=192.0.2.20 ansible_user=cloud
192.0.2.10 hostname=192.0.2.10
END
"""


@pytest.fixture
def said(tmp_path: Path) -> Path:
    """What the stand-in was called with, a word a line."""
    return tmp_path / "said"


@pytest.fixture
def section(tmp_path: Path, said: Path) -> dict[str, str]:
    """The section of the settings, for a workspace and the stand-in."""
    workspace = tmp_path / "workspace"
    (workspace / "credentials").mkdir(parents=True)
    (workspace / "credentials" / "clouds.yml").write_text("password: canary\n", encoding="ascii")
    (workspace / "PinFile").write_text("hosts: {{ lease }}\n", encoding="ascii")
    program = tmp_path / "linchpin"
    program.write_text(LINCHPIN.format(said=said), encoding="ascii")
    program.chmod(0o755)
    return {"program": str(program), "pinfile": str(workspace / "PinFile"), "target": "hosts", "user": "root"}


@pytest.fixture
def work(section: dict[str, str], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that has the module do its work for a lease that was begun; keys given override."""
    named = {"lease": "ci-f26-1", "folder": str(tmp_path / "leases" / "ci-f26-1")}
    asked = {"provider": "linchpin", "hosts_count": 2, "arch": "x86_64", "lent_until": 4e9}
    module("begin_lease").begin(named | asked)
    common = {**named, **section, "arch": "x86_64", "lent_until": 4e9, "hosts_wanted": 2, "seconds": 30.0}

    def run(state: str, **more: Any) -> dict[str, Any]:
        done: dict[str, Any] = module("linchpin_hosts").work(common | {"state": state} | more)
        return done

    return run


def test_without_the_program_it_is_said_what_to_use_instead(work: Any) -> None:
    """It can be installed on no Python of ours."""
    with pytest.raises(InfrastructureError) as caught:
        work("present", program="no-linchpin")

    assert str(caught.value) == (
        "there is no program no-linchpin: it is not maintained any more and runs on no Python the pipeline runs on; "
        "set provision.linchpin.program on a machine that has it, or provision.provider to aws, openstack, "
        "duffy or libvirt"
    )


def test_a_pinfile_that_is_not_there_is_named(work: Any) -> None:
    """Before anything is called."""
    with pytest.raises(InfrastructureError, match=r"there is no PinFile at /none/PinFile: set provision\.linchpin\.pi"):
        work("present", pinfile="/none/PinFile")


def test_what_linchpin_says_when_it_fails_is_the_reason(work: Any, tmp_path: Path) -> None:
    """Its log is kept as long as the lease; the lease is returned as others are."""
    with pytest.raises(InfrastructureError) as caught:
        work("present", target="broken")

    assert str(caught.value) == "linchpin up broken failed: Task 'provision' failed"
    assert (tmp_path / "leases" / "ci-f26-1" / "linchpin-up.log").is_file()
    assert work("absent", target="broken")["outputs"] == {"returned": 0}


def test_a_target_is_brought_up_once_and_destroyed_once(work: Any, tmp_path: Path, said: Path) -> None:
    """In a copy of the workspace without its credentials, of which linch-pin is told the place."""
    folder = tmp_path / "leases" / "ci-f26-1"
    hosts = work("present")["hosts"]
    module("record_hosts").record({"lease": "ci-f26-1", "folder": str(folder), "provider": "linchpin", "hosts": hosts})
    again = work("present")["hosts"]
    copy = folder / "linchpin"
    known, copied = json.loads((copy / "lease.json").read_text()), {path.name for path in copy.iterdir()}
    returned = [work("absent")["outputs"] for _ in range(2)]
    common = ["--workspace", str(copy), "--pinfile", "PinFile", "--template-data", f"@{copy / 'lease.json'}"]
    common += ["--creds-path", str(tmp_path / "workspace" / "credentials")]

    assert again == hosts
    assert [(host["id"], host["user"], host["port"]) for host in hosts] == [
        ("192.0.2.10", "root", 22),
        ("192.0.2.20", "cloud", 22),
    ]
    assert said.read_text().splitlines() == [*common, "up", "hosts", *common, "destroy", "hosts"]
    assert (known["lease"], known["hosts_count"], known["until"]) == ("ci-f26-1", 2, 4_000_000_000)
    assert copied == {"PinFile", "lease.json", "inventories"}
    assert returned == [{"returned": 2}, {"returned": 0}]


def test_what_was_never_brought_up_can_be_returned(work: Any, said: Path) -> None:
    """The program is not even called."""
    assert work("absent")["outputs"] == {"returned": 0}
    assert not said.exists()
