"""What of the toolchain fedora runs without Fedora: `make test-infra`."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils import ci_vm
from ansible.module_utils.ci_vm import Vm

from tests.playbooks.host.branches import REF

if TYPE_CHECKING:
    from tests.playbooks.host.branches import Branch
    from tests.playbooks.stage_runs import RunStage


def test_an_image_is_asked_over_ssh_what_it_runs(branch: Branch) -> None:
    """As the toolchain fedora does, with a key in a seed: the local base OS reads the same seed as cloud-init."""
    generated = branch.stage("generate_image", compose_rev=branch.head(), version="26.1", ref=REF)["outputs"]
    outputs = {key: generated[key] for key in ("image_name", "image_sha256")}
    booted = branch.stage("smoke_test", toolchain="fedora", compose_rev=branch.head(), **outputs)

    assert booted["status"] == "SUCCESS", booted["reason"]
    assert booted["outputs"]["booted_rev"] == branch.head()
    assert (branch.images / "latest.qcow2").is_symlink()


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_a_machine_without_a_disk_comes_as_far_as_its_firmware(tmp_path: Path, arch: str) -> None:
    """The real QEMU, where it is installed: it takes the command line, and UEFI speaks on the console."""
    if not shutil.which(f"qemu-system-{arch}") or not any(Path(path).is_file() for path in ci_vm.FIRMWARE[arch]):
        pytest.skip(f"no QEMU and UEFI for {arch} here")
    vm = Vm(tmp_path, ci_vm.firmware(arch), 512, arch=arch)
    with vm.running():
        seconds = vm.wait(lambda: bool(vm.console_text().strip()), 60)

    assert seconds < 60


def test_nothing_has_begun_on_a_machine_of_another_architecture(run_stage: RunStage) -> None:
    """The stage fails before it fetches anything."""
    other = "aarch64" if platform.machine() == "x86_64" else "x86_64"
    result = run_stage("build_package", arch=other, dist_git_url="file:///nonexistent", rev="0" * 40)

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert result["reason"].startswith(f"build_package for {other} needs a machine of that architecture")
