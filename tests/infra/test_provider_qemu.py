"""Provider qemu with a host that boots: lent, lent again, and returned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from ansible.module_utils.ci_host_checks import Ssh

from tests.playbooks.host.branches import LIMITS
from tests.playbooks.host.test_provider_qemu import disk_of, folder
from tests.playbooks.host.test_provision_hosts import blank, image, machines
from tests.playbooks.leases import lease_request

if TYPE_CHECKING:
    from tests.playbooks.stage_runs import RunStage

__all__ = ["blank", "folder", "image"]


def test_a_host_that_does_not_come_up_leaves_none(run_stage: RunStage, blank: dict[str, str], folder: Path) -> None:
    """The failure is the infrastructure's; the lease is still there to be found, and can be returned."""
    quick = LIMITS | {"boot_seconds": 1, "memory_mb": 128}
    request = lease_request(folder, "qemu", hosts=1)
    result = run_stage("provision", **request, provision_disk=disk_of(blank), limits=quick)
    begun = (folder / "request.json").exists()
    returned = run_stage("teardown", **request)

    assert (result["status"], result["fault"], begun) == ("FAILURE", "infrastructure", True)
    assert result["reason"].startswith("host-1: the composed host did not come up in 1 s")
    assert returned["outputs"] == {"returned": 0, "was_there": True}
    assert not machines(folder)


def test_a_host_lives_until_its_lease_is_returned(run_stage: RunStage, image: dict[str, str], folder: Path) -> None:
    """Lent twice it is the same; it lets the lease's key in; returned twice it is gone."""
    request: dict[str, Any] = {**lease_request(folder, "qemu"), "provision_disk": disk_of(image), "limits": LIMITS}
    first = run_stage("provision", **request)
    assert first["status"] == "SUCCESS", first["reason"]
    alive = machines(folder)
    host = first["outputs"]["hosts"][0]
    said = Ssh(host["port"], Path(host["key"])).run("cat /proc/sys/kernel/hostname").strip()
    again = run_stage("provision", **request)
    listed = json.loads((folder / "hosts.json").read_text())
    returned = [run_stage("teardown", **request)["outputs"] for _ in range(2)]

    assert said == host["name"] == "host-1"
    assert again["outputs"] == first["outputs"] == listed
    assert returned == [{"returned": 1, "was_there": True}, {"returned": 0, "was_there": False}]
    assert len(alive) == 1
    assert not psutil.pid_exists(alive[0].pid)
