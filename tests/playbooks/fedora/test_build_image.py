"""The image on the toolchain fedora: what image-builder, a stand-in, is asked, and what becomes of what it makes."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.ci_stage import StageError

from tests.playbooks.host.branches import REF, ostree
from tests.playbooks.stage_runs import LIMITS, module

if TYPE_CHECKING:
    from tests.playbooks.fedora.stand_ins import Tools
    from tests.playbooks.stage_runs import RunStage


@pytest.fixture
def params(tmp_path: Path) -> dict[str, Any]:
    """Return the parameters of the module, of a repository with one commit."""
    repo, tree = tmp_path / "ostree", tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("x")
    subprocess.run(["ostree", "init", f"--repo={repo}", "--mode=archive"], check=True)
    return {
        "ostree_repo": str(repo),
        "compose_rev": ostree(repo, "commit", "--orphan", "--no-bindings", str(tree)),
        "version": "26.1",
        "ref": REF,
        "arch": "x86_64",
        "distro": "fedora-26",
        "image_type": "iot-qcow2",
        "image_dir": str(tmp_path / "images"),
        "cache": str(tmp_path / "cache"),
        "workspace": str(tmp_path),
        "limits": LIMITS,
    }


def build(params: dict[str, Any], **other: Any) -> dict[str, Any]:
    """Build an image."""
    built: dict[str, Any] = module("build_image").build(params | other)
    return built


def servers() -> list[threading.Thread]:
    """Return the threads that serve something."""
    return [thread for thread in threading.enumerate() if "serve_forever" in thread.name]


@pytest.mark.parametrize(
    ("says", "asked", "sentence"),
    [
        ({"code": 1, "says": "error: cannot pull"}, {}, "image-builder failed: error: cannot pull"),
        ({"file": "image.raw.xz"}, {}, "image-builder's iot-qcow2 is no qcow2; correct image.type"),
        ({"options": "-b /etc/hostname -F raw"}, {}, "image-builder's disk is not whole"),
        ({}, {"image_type": "--in-vm"}, "is no image_type of image-builder"),
        ({}, {"compose_rev": "0" * 64}, "has no commit"),
        ({}, {"version": "../26.1"}, "is not a version of a compose"),
    ],
)
def test_no_image_is_the_infrastructures_fault_and_leaves_nothing(
    params: dict[str, Any], tools: Tools, says: dict[str, Any], asked: dict[str, str], sentence: str
) -> None:
    """The commit has booted before. What cannot be used never gets an image's name."""
    tools.says("image-builder", **says)
    before = servers()
    with pytest.raises(StageError, match=sentence) as error:
        build(params, **asked)

    assert servers() == before
    assert error.value.fault == "infrastructure"
    assert not Path(params["image_dir"]).exists()


def test_what_image_builder_is_asked(params: dict[str, Any], tools: Tools) -> None:
    """For the branch's ref from a server that has this commit alone; a console it can be heard on."""
    build(params)
    (call,) = tools.calls("image-builder")
    workspace = Path(params["workspace"])

    assert call[:4] == ["build", "iot-qcow2", "--distro=fedora-26", "--arch=x86_64"]
    assert call[4].startswith("--ostree-url=http://127.0.0.1:")
    assert call[5:] == [
        f"--ostree-ref={REF}",
        f"--blueprint={workspace}/blueprint.toml",
        f"--output-dir={workspace}/image",
        "--output-name=image",
        f"--cache={params['cache']}/image-builder",
        "--progress=verbose",
    ]
    assert (tools.folder / "image-builder.rev").read_text().strip() == params["compose_rev"]
    assert 'append = "console=ttyS0"' in (workspace / "blueprint.toml").read_text()


def test_the_console_is_that_of_the_architecture(params: dict[str, Any], tools: Tools) -> None:
    """Without one nothing could be seen of a boot that fails."""
    build(params, arch="aarch64")

    assert "--arch=aarch64" in tools.calls("image-builder")[0]
    assert 'append = "console=ttyAMA0"' in Path(params["workspace"], "blueprint.toml").read_text()


def test_the_playbook_chooses_by_the_image_builder(run_stage: RunStage, params: dict[str, Any], tools: Tools) -> None:
    """The outputs are those of every image."""
    request = {key: params[key] for key in ("ostree_repo", "compose_rev", "version", "ref", "image_dir", "cache")}
    chosen = {"image_builder": "image-builder", "image_type": "iot-qcow2", "image_distro": "fedora-26"}
    result = run_stage("generate_image", toolchain="fedora", **request, **chosen)
    name = f"fedora-atomic-26.1-{params['compose_rev'][:15]}.qcow2"
    image = Path(params["image_dir"]) / name

    assert result["status"] == "SUCCESS", result["reason"]
    assert result["outputs"]["image_name"] == name
    assert result["outputs"]["image_sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()


def test_without_an_image_builder_other_architectures_are_refused(params: dict[str, Any]) -> None:
    """GRUB's part for BIOS is the PC's."""
    keys = set(module("write_image").ARGUMENTS)
    with pytest.raises(StageError, match=r"there are images for x86_64 alone; set image\.builder"):
        module("write_image").write({key: params[key] for key in keys} | {"arch": "aarch64"})
