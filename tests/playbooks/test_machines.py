"""Machines of several architectures: what QEMU is asked for each."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils import ci_vm
from ansible.module_utils.ci_disk import kernel_arguments
from ansible.module_utils.ci_stage import InfrastructureError
from ansible.module_utils.ci_vm import Vm

if TYPE_CHECKING:
    from pathlib import Path


def recording(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Put a stand-in for a QEMU on the PATH, which writes down its arguments and ends."""
    program = folder / name
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{folder}/arguments\n', encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def asked(vm: Vm, folder: Path) -> list[str]:
    """Start a machine; return the arguments of its QEMU."""
    with vm.running():
        assert vm.process
        vm.process.wait()
    return (folder / "arguments").read_text(encoding="ascii").splitlines()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="what is foreign here is another architecture")
def test_kvm_is_refused_for_another_architecture(tmp_path: Path) -> None:
    """With a sentence, before anything is started."""
    vm = Vm(tmp_path, [], 512, accelerator="kvm", arch="aarch64")

    with pytest.raises(InfrastructureError, match=r"of aarch64 cannot run under KVM .* \(x86_64\); use tcg"):
        asked(vm, tmp_path)


def test_the_qemu_of_the_architecture_has_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(InfrastructureError, match="qemu-system-aarch64 is not installed on this builder"):
        asked(Vm(tmp_path, [], 512, arch="aarch64"), tmp_path)


def test_a_missing_firmware_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of both distributions."""
    monkeypatch.setattr(ci_vm, "FIRMWARE", {"aarch64": ("/nonexistent",)})

    with pytest.raises(InfrastructureError, match=r"no UEFI for aarch64; install edk2-aarch64 \(Debian: qemu-efi"):
        ci_vm.firmware("aarch64")


def test_an_aarch64_machine_is_a_virt_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a processor of 64 bits, which is not QEMU's own choice there."""
    recording(tmp_path, monkeypatch, "qemu-system-aarch64")
    arguments = asked(Vm(tmp_path, ["-drive", "x"], 512, arch="aarch64"), tmp_path)

    assert arguments[:8] == ["-machine", "virt", "-cpu", "max", "-nodefaults", "-display", "none", "-no-user-config"]
    assert kernel_arguments("aarch64") == ["root=LABEL=root", "rw", "console=ttyAMA0", "panic=-1"]


def test_a_pc_is_asked_for_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machine and processor are QEMU's choice."""
    recording(tmp_path, monkeypatch, "qemu-system-x86_64")

    assert asked(Vm(tmp_path, [], 512), tmp_path)[:4] == ["-nodefaults", "-display", "none", "-no-user-config"]
    assert kernel_arguments("x86_64")[2] == "console=ttyS0"
