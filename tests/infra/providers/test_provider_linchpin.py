"""Provider linchpin by its playbooks, with the stand-in for the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.playbooks.leases import lease_request
from tests.playbooks.providers.test_provider_linchpin import said, section

if TYPE_CHECKING:
    from pathlib import Path

    from tests.playbooks.stage_runs import RunStage

__all__ = ["said", "section"]


def test_a_target_is_lent_and_returned(run_stage: RunStage, section: dict[str, str], folder: Path) -> None:
    """Twice is as good as once."""
    request = lease_request(folder, "linchpin", hosts=2, **section) | {"provision_await_ssh": False}
    first, again = run_stage("provision", **request), run_stage("provision", **request)
    returned = [run_stage("teardown", **request)["outputs"] for _ in range(2)]

    assert first["status"] == "SUCCESS", first["reason"]
    assert again["outputs"] == first["outputs"]
    assert returned == [{"returned": 2, "was_there": True}, {"returned": 0, "was_there": False}]
