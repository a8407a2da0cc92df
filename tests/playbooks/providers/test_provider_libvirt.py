"""Provider libvirt as far as it goes without one: stand-ins for virsh and virt-install record how they were called."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.ci_stage import InfrastructureError

from tests.playbooks.stage_runs import module

if TYPE_CHECKING:
    from pathlib import Path


def test_a_disk_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Before libvirt is asked."""
    with pytest.raises(InfrastructureError, match="there is no disk to boot at /none"):
        module("libvirt_hosts").work(asked(tmp_path) | {"disk": "/none"})


def test_hosts_in_a_network_of_libvirts_have_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Virsh is asked for it; virt-install is told the disk, the seed, the network and the lease's marks."""
    loaded = module("libvirt_hosts")
    called: list[list[str]] = []
    defined: list[str] = []

    def stand_in(self: Any, command: list[str]) -> str:
        called.append(command)
        if command[0] == "virt-install":
            defined.append(command[command.index("--name") + 1])
        answers = {"list": "\n".join(defined), "domifaddr": " vnet0 52:54:00:6b:3c:58 ipv4 192.168.122.44/24\n"}
        return next((said for word, said in answers.items() if word in command), "")

    monkeypatch.setattr(loaded.Domains, "_run", stand_in)
    (tmp_path / "disk").write_bytes(b"")
    os.truncate(tmp_path / "disk", 1024)
    module("begin_lease").begin(
        {"lease": "ci-1", "folder": str(tmp_path / "ci-1"), "provider": "libvirt", "hosts_count": 1}
        | {"arch": "x86_64", "lent_until": 4e9}
    )
    monkeypatch.setattr(loaded, "output", lambda _command: "")
    hosts = loaded.work(asked(tmp_path))["hosts"]
    [install] = [command for command in called if command[0] == "virt-install"]

    assert [(host["address"], host["port"], host["id"]) for host in hosts] == [("192.168.122.44", 22, "ci-1-1")]
    assert install[:3] == ["virt-install", "--connect", "qemu:///system"]
    assert install[install.index("--network") + 1] == "network=default,model=virtio"
    for words in ("vol=ci-1/ci-1-1.qcow2,bus=virtio,format=qcow2,cache=unsafe", "title=ci-pipeline lease ci-1"):
        assert words in install


def asked(tmp_path: Path) -> dict[str, Any]:
    """Return the module's parameters for one host in libvirt's default network."""
    named = {"lease": "ci-1", "folder": str(tmp_path / "ci-1"), "state": "present", "disk": str(tmp_path / "disk")}
    there = {"uri": "qemu:///system", "network": "default", "arch": "x86_64", "lent_until": 4e9, "hosts_wanted": 1}
    return {**named, **there, "memory_mb": 512, "cpus": 1, "virt_type": "kvm", "seconds": 5.0, "internet": False}
