"""Generating the image and booting it: what is not announced or not the right commit never becomes the latest."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.playbooks.host.branches import LIMITS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.playbooks.host.branches import Branch

QUICK = LIMITS | {"boot_seconds": 5}


@pytest.fixture
def image(branch: Branch) -> dict[str, Any]:
    """Return the outputs of generate_image for the branch's promoted commit."""
    result = branch.stage("generate_image", compose_rev=branch.head(), version="26.1")
    assert result["status"] == "SUCCESS", result["reason"]
    outputs: dict[str, Any] = result["outputs"]
    return outputs


def test_an_image_of_an_unknown_commit_is_refused(branch: Branch) -> None:
    """There is nothing to deploy, and nothing is left in the folder."""
    result = branch.stage("generate_image", compose_rev="0" * 64, version="26.1")

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert f"has no commit {'0' * 64}" in result["reason"]
    assert not branch.images.exists()


def test_another_file_than_the_announced_is_not_booted(branch: Branch) -> None:
    """The sha256 is checked before anything runs."""
    _blank(branch.images)

    result = branch.stage(
        "smoke_test", image_name="blank.qcow2", image_sha256="0" * 64, compose_rev=branch.head(), limits=QUICK
    )

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert "blank.qcow2 is not the file that was announced" in result["reason"]


def test_an_image_that_does_not_boot_fails_within_the_limit(branch: Branch) -> None:
    """A disk without a boot record ends as a failure that says so; there is no latest."""
    sha256 = _blank(branch.images)

    result = branch.stage(
        "smoke_test", image_name="blank.qcow2", image_sha256=sha256, compose_rev=branch.head(), limits=QUICK
    )

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert "did not come up in 5 s" in result["reason"]
    assert result["tool_seconds"] < 15
    assert not (branch.images / "latest.qcow2").exists()


def test_an_image_of_another_commit_fails(branch: Branch, image: dict[str, Any]) -> None:
    """It boots well, but what runs is not what was tested: latest stays where it was."""
    result = branch.stage("smoke_test", **_announced(image), compose_rev="f" * 64)

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert f"the image runs {branch.head()} instead of {'f' * 64}" in result["reason"]
    assert result["outputs"]["booted_rev"] == branch.head()
    assert not (branch.images / "latest.qcow2").exists()


def test_an_image_boots_by_itself_into_its_commit(branch: Branch, image: dict[str, Any], tmp_path: Path) -> None:
    """It is a compressed qcow2 under its name, holds no key, boots the commit unchanged, and becomes the latest."""
    path = branch.images / image["image_name"]
    content = path.read_bytes()

    result = branch.stage("smoke_test", **_announced(image), compose_rev=branch.head())

    assert result["status"] == "SUCCESS", result["reason"]
    assert result["outputs"]["booted_rev"] == branch.head()
    assert 0 < result["outputs"]["boot_seconds"] < LIMITS["boot_seconds"]
    assert image["image_name"] == f"fedora-atomic-26.1-{branch.head()[:15]}.qcow2"
    assert (image["image_size"], image["image_sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert path.read_bytes() == content
    assert (branch.images / "latest.qcow2").resolve() == path
    assert sorted(one.name for one in branch.images.iterdir()) == [path.name, "latest.qcow2"]
    # root's home, where a key would be, is made on the first boot.
    assert {"log", "roothome"}.intersection(_entries(path, "/ostree/deploy/atomic-host/var", tmp_path)) == {"log"}


def test_an_image_that_is_made_again_has_nothing_of_the_one_before_beside_it(
    branch: Branch, image: dict[str, Any]
) -> None:
    """A manifest that tells of another file of the same name misleads whoever takes it."""
    path = branch.images / image["image_name"]
    for name in (f"{path.name}.manifest.json", f"{path.name}.intoto.jsonl"):
        path.with_name(name).write_text("{}", encoding="ascii")

    result = branch.stage("generate_image", compose_rev=branch.head(), version="26.1")

    assert result["status"] == "SUCCESS", result["reason"]
    assert [one.name for one in branch.images.iterdir()] == [path.name]
    assert set(result["outputs"]["builder"]) >= {"ostree", "qemu", "kernel"}


def _announced(image: dict[str, Any]) -> dict[str, str]:
    return {name: image[name] for name in ("image_name", "image_sha256")}


def _blank(folder: Path) -> str:
    folder.mkdir()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "blank.qcow2"), "64M"], check=True)
    return hashlib.sha256((folder / "blank.qcow2").read_bytes()).hexdigest()


def _entries(image: Path, folder: str, tmp_path: Path) -> list[str]:
    """Return the names in a folder of the image's file system."""
    raw, part = tmp_path / "image.raw", tmp_path / "part.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(image), str(raw)], check=True)
    subprocess.run(["dd", f"if={raw}", f"of={part}", "bs=1M", "skip=1", "conv=sparse", "status=none"], check=True)
    command = ["debugfs", "-R", f"ls -p {folder}", str(part)]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names = [line.split("/")[5] for line in listing.splitlines() if line.count("/") >= 6]
    return sorted(name for name in names if name not in {".", ".."})
