"""Provider qemu: hosts on this machine that outlive the playbook, and end when the lease does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.playbooks.host.branches import LIMITS
from tests.playbooks.host.test_provision_hosts import blank, machines
from tests.playbooks.leases import lease_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.playbooks.stage_runs import RunStage

__all__ = ["blank"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return the folder of a lease; what runs of it in the end is ended."""
    path = tmp_path / "leases" / "ci-f26-1"
    yield path
    for process in machines(path):
        process.kill()


def disk_of(image: dict[str, str]) -> str:
    """Return the path of an image that was announced."""
    return str(Path(image["image_dir"]) / image["image_name"])


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


def test_what_was_never_lent_can_be_returned(run_stage: RunStage, folder: Path) -> None:
    """And it is said that there was nothing."""
    result = run_stage("teardown", **lease_request(folder, "qemu"))

    assert (result["status"], result["outputs"]) == ("SUCCESS", {"returned": 0, "was_there": False})
