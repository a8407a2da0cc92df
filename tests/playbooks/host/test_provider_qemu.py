"""Provider qemu: hosts on this machine that outlive the playbook, and end when the lease does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.playbooks.host.test_provision_hosts import machines
from tests.playbooks.leases import lease_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.playbooks.stage_runs import RunStage


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


def test_what_was_never_lent_can_be_returned(run_stage: RunStage, folder: Path) -> None:
    """And it is said that there was nothing."""
    result = run_stage("teardown", **lease_request(folder, "qemu"))

    assert (result["status"], result["outputs"]) == ("SUCCESS", {"returned": 0, "was_there": False})
