"""What a machine has to be and have before a stage begins."""

from __future__ import annotations

import platform
import shutil
from typing import Any

import pytest
from ansible.module_utils import ci_toolchain
from ansible.module_utils.ci_stage import InfrastructureError

HERE = platform.machine()
OTHER = "aarch64" if HERE == "x86_64" else "x86_64"


def check(stage: str, toolchain: str = "fedora", **params: Any) -> None:
    """Check this machine."""
    given = {"arch": HERE, "image_builder": "ostree", "koji": False} | params
    ci_toolchain.check({"stage": stage, "toolchain": toolchain} | given)


@pytest.mark.parametrize("toolchain", ["local", "fedora"])
@pytest.mark.parametrize("stage", ["build_package", "functional_tests", "compose_ostree"])
def test_a_machine_of_another_architecture_is_refused(stage: str, toolchain: str) -> None:
    """Where its own programs would have to run."""
    with pytest.raises(InfrastructureError, match=f"{stage} for {OTHER} needs a machine of that"):
        check(stage, toolchain, arch=OTHER)


def test_image_builder_makes_no_images_of_another_architecture() -> None:
    """It could try; that is experimental."""
    with pytest.raises(InfrastructureError, match="needs a machine of that architecture"):
        check("generate_image", arch=OTHER, image_builder="image-builder")


def test_a_machine_of_another_architecture_can_be_emulated() -> None:
    """With the QEMU that does."""
    check("smoke_test", "local", arch=OTHER)


@pytest.mark.parametrize(
    ("stage", "params", "programs", "packages"),
    [
        (
            "build_package",
            {"koji": True},
            "mock, rpmbuild, createrepo_c, bwrap, koji",
            "bubblewrap createrepo_c koji mock rpm-build",
        ),
        ("compose_ostree", {}, "rpm-ostree, ostree, bwrap", "bubblewrap ostree rpm-ostree"),
        ("generate_image", {}, "ostree, qemu-img", "ostree qemu-img"),
        (
            "generate_image",
            {"image_builder": "image-builder"},
            "ostree, qemu-img, image-builder",
            "image-builder ostree qemu-img",
        ),
        (
            "smoke_test",
            {"arch": "aarch64"},
            "ssh, qemu-system-aarch64",
            "openssh-clients qemu-system-aarch64-core",
        ),
    ],
)
def test_what_is_missing_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, stage: str, params: dict[str, Any], programs: str, packages: str
) -> None:
    """All of it, at once."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(InfrastructureError) as error:
        check(stage, **params)

    assert str(error.value) == (
        f"this builder has no {programs}, which {stage} on the toolchain fedora needs; dnf install {packages}"
    )
