"""A host that boots what is composed under a libvirt: the disk that the stage has written, the seed, and the tests."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra.providers.test_provider_libvirt import pytestmark as needs_libvirt
from tests.infra.providers.test_provider_libvirt import session
from tests.playbooks.host.test_integration_tests import ATOMIC

if TYPE_CHECKING:
    from pathlib import Path

    from tests.infra.providers.test_provider_libvirt import Session
    from tests.playbooks.host.branches import Branch, BuildCandidate

__all__ = ["session"]
pytestmark = [needs_libvirt, pytest.mark.timeout(900)]


def test_a_host_boots_the_compose_and_is_tested(
    branch: Branch, build_candidate: BuildCandidate, session: Session
) -> None:
    """It lets the lease's key in, runs exactly the commit, and a pass promotes it. Nothing is pulled."""
    candidate = build_candidate("1.1")
    composed = branch.compose(candidate, build_id=8)
    rev = composed["outputs"]["compose_rev"]
    branch.dist_git.commit({"tests/tests.yml": ATOMIC.format(version="1.1")})
    written = branch.stage("provision_disk", compose_rev=rev)
    assert written["status"] == "SUCCESS", written["reason"]
    disk = shutil.copy(written["outputs"]["disk"], session.folder / "composed.qcow2")
    shutil.chown(disk, "nobody", "nogroup")
    (lent,) = session.work({"state": "present", "hosts_wanted": 1, "memory_mb": 1024, "disk": str(disk)})
    host: dict[str, Any] = {**lent["hosts"][0], "key": str(session.folder / "ci-f26-1" / "key")}
    tested = branch.integrate(composed, candidate, build_id=8, test_hosts=[host], ostree_url="")
    returned = session.work({"state": "absent"})

    assert tested["status"] == "SUCCESS", json.dumps(tested, indent=1)
    assert tested["outputs"] == {"booted_rev": rev, "total": 6, "failed": 0, "promoted": True}
    assert branch.head() == rev
    assert returned == [{"outputs": {"returned": 1}}]


def test_a_host_that_does_not_come_up_is_the_packages_fault(
    branch: Branch, build_candidate: BuildCandidate, tmp_path: Path
) -> None:
    """It has booted exactly what the package has changed."""
    candidate = build_candidate("1.1")
    composed = branch.compose(candidate, build_id=8)
    host = {"name": "host-1", "address": "127.0.0.1", "port": 1, "user": "root", "key": str(tmp_path / "key")}
    limits = {"seconds": 60, "boot_seconds": 1, "memory_mb": 512, "disk_mb": 512, "processes": 64, "free_mb": 1}
    tested = branch.integrate(composed, candidate, build_id=8, test_hosts=[host], ostree_url="", limits=limits)

    assert (tested["status"], tested["fault"]) == ("FAILURE", "package")
    assert tested["reason"].startswith("the composed host did not come up: host-1 does not let us in: ")
