"""Composes and images on a disk that runs full: an infrastructure fault that heals when there is room again."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from tests.playbooks.host.branches import ostree

if TYPE_CHECKING:
    from tests.playbooks.host.branches import Branch, BuildCandidate
    from tests.playbooks.small_disk import SmallDisk


def is_told(result: dict[str, Any]) -> bool:
    """Tell whether a result is an infrastructure fault that says the disk is full."""
    fault = (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    return fault and result["reason"].startswith("the disk is full: ")


def test_a_commit_that_does_not_fit_does_later(
    new_branch: Branch, build_candidate: BuildCandidate, small_disk: SmallDisk
) -> None:
    """Half a commit in the repository does not hurt the next try."""
    branch = dataclasses.replace(new_branch, folder=small_disk.path)
    first = branch.compose(build_candidate("1.0"))
    small_disk.grow(512)
    second = branch.compose(build_candidate("1.0"))

    assert is_told(first), first
    assert second["status"] == "SUCCESS", second["reason"]
    assert "no errors found" in ostree(branch.ostree, "fsck")
    assert [path.name for path in (branch.ostree / "tmp").iterdir()] == ["cache"]


def test_a_repository_that_could_not_be_made_is_later(
    new_branch: Branch, build_candidate: BuildCandidate, small_disk: SmallDisk
) -> None:
    """What a full disk left of it is not taken for a repository."""
    branch = dataclasses.replace(new_branch, folder=small_disk.path)
    small_disk.fill(but_kb=4)
    first = branch.compose(build_candidate("1.0"))
    small_disk.grow(512)
    second = branch.compose(build_candidate("1.0"))

    assert is_told(first), first
    assert second["status"] == "SUCCESS", second["reason"]


def test_an_image_that_does_not_fit_does_later(branch: Branch, small_disk: SmallDisk) -> None:
    """Nothing of the first try is in the folder, nor of one that was killed."""
    images = small_disk.path / "images"
    request = {"compose_rev": branch.head(), "version": "26.1", "image_dir": str(images)}
    first = branch.stage("generate_image", **request)
    left = list(images.iterdir())
    small_disk.grow(256)
    killed = images / f".fedora-atomic-26.1-{branch.head()[:15]}.qcow2.4711"
    killed.write_bytes(b"half")
    second = branch.stage("generate_image", **request)

    assert is_told(first), first
    assert left == []
    assert second["status"] == "SUCCESS", second["reason"]
    assert [path.name for path in images.iterdir()] == [second["outputs"]["image_name"]]
