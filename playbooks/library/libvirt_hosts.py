#!/usr/bin/python
"""Have libvirt boot virtual machines of a lease from `disk`, an image that reads its seed; or remove them.

Each is a domain `LEASE-N` whose description has the lease's marks, with an overlay of the disk and a seed in a storage
pool called as the lease, in `folder`: a domain, its disks and its pool are found by the lease's id alone. With
`network: user` they are in a user network of QEMU's, and the port of each is one of this machine's; other networks are
libvirt's, and it is asked for the addresses. Returns `hosts`, as `record_hosts` takes them, or the output `returned`.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_lease import Lease
from ansible.module_utils.ci_seed import LABEL, write_seed
from ansible.module_utils.ci_stage import InfrastructureError, Part, clean, run_module
from ansible.module_utils.ci_tools import how_it_ended, output, run
from ansible.module_utils.ci_vm import ADDRESS, MAC, free_port

ARGUMENTS: Final[dict[str, Any]] = {
    "lease": {"type": "str", "required": True},
    "folder": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "required": True},
    "uri": {"type": "str", "required": True},
    "internet": {"type": "bool", "default": False},
    "network": {"type": "str", "default": "user"},
    "disk": {"type": "path", "default": ""},
    "arch": {"type": "str", "default": "x86_64"},
    "lent_until": {"type": "float", "default": 0},
    "hosts_wanted": {"type": "int", "default": 0},
    "memory_mb": {"type": "int", "default": 2048},
    "cpus": {"type": "int", "default": 1},
    "virt_type": {"type": "str", "choices": ["kvm", "qemu"], "default": "kvm"},
    "seconds": {"type": "float", "default": 600},
}
USER_NETWORK: Final = "user"
_POLL_SECONDS: Final = 1.0
_FORWARD: Final = re.compile(r"hostfwd=tcp:127\.0\.0\.1:(\d+)-")


class Domains:
    """The domains of a lease at a libvirt."""

    def __init__(self, params: dict[str, Any]) -> None:
        """Take the module's parameters."""
        self.lease = Lease(Path(params["folder"]), params["lease"])
        self._params, self._disks = params, self.lease.folder / "disks"

    def names(self) -> list[str]:
        """Return the names of those that are defined, running or not, in their order."""
        listed = self._virsh("list", "--all", "--name").split()
        ours = re.compile(rf"{re.escape(self.lease.id)}-(\d+)")
        return sorted(filter(ours.fullmatch, listed), key=lambda name: int(name.rpartition("-")[2]))

    def create(self, number: int) -> None:
        """Boot one from an overlay of the disk."""
        name = f"{self.lease.id}-{number}"
        disk, seed = self._disks / f"{name}.qcow2", self._disks / f"{name}.seed"
        output(["qemu-img", "create", "-q", "-f", "qcow2", "-b", self._params["disk"], "-F", "qcow2", disk])
        self._write_seed(number, seed)
        self._virsh("pool-refresh", self.lease.id)
        self._run(["virt-install", "--connect", self._params["uri"], *self._words(name, disk, seed)])

    def make_pool(self) -> None:
        """Have the pool of the lease's disks."""
        self._disks.mkdir(mode=0o711, exist_ok=True)
        if self.lease.id not in self._virsh("pool-list", "--all", "--name").split():
            self._virsh("pool-create-as", self.lease.id, "dir", "--target", str(self._disks))

    def place(self, name: str) -> tuple[str, int] | None:
        """Return the address and the port of the SSH of one; None as long as it has no address."""
        if self._params["network"] == USER_NETWORK:
            found = _FORWARD.search(self._virsh("dumpxml", name))
            if not found:
                raise InfrastructureError(f"the domain {name} forwards no port: return the lease, then try again")
            return "127.0.0.1", int(found[1])
        listed = re.search(r"ipv4\s+([0-9.]+)/", self._virsh("domifaddr", name, "--source", "lease"))
        return (listed[1], 22) if listed else None

    def running(self, name: str) -> bool:
        """Say whether one runs."""
        return self._virsh("domstate", name).strip() == "running"

    def remove(self) -> int:
        """Remove all with their disks and their pool; return how many there were."""
        names = self.names()
        for name in names:
            if self._virsh("domstate", name).strip() != "shut off":
                self._virsh("destroy", name)
            self._virsh("undefine", name, "--remove-all-storage")
        if self.lease.id in self._virsh("pool-list", "--all", "--name").split():
            self._virsh("pool-destroy", self.lease.id)
        return len(names)

    def _write_seed(self, number: int, image: Path) -> None:
        folder = self.lease.folder / f"seed-{number}"
        if not folder.exists():
            write_seed(folder, f"host-{number}", self.lease.public_key(), None, internet=self._params["internet"])
        source = {"driver": "vvfat", "dir": str(folder), "label": LABEL, "read-only": True}
        output(["qemu-img", "convert", "-O", "raw", f"json:{json.dumps(source)}", image])

    def _words(self, name: str, disk: Path, seed: Path) -> list[str]:
        words = ["--name", name, "--metadata", f"title=ci-pipeline lease {self.lease.id}"]
        words += ["--metadata", f"description=until {int(self._params['lent_until'])}", "--import", "--noautoconsole"]
        words += ["--virt-type", self._params["virt_type"], "--arch", self._params["arch"]]
        words += ["--memory", str(self._params["memory_mb"]), "--vcpus", str(self._params["cpus"])]
        words += ["--osinfo", "require=off", "--graphics", "none", "--rng", "/dev/urandom"]
        words += ["--disk", f"vol={self.lease.id}/{disk.name},bus=virtio,format=qcow2,cache=unsafe"]
        words += ["--disk", f"vol={self.lease.id}/{seed.name},bus=virtio,format=raw"]
        return [*words, *self._network()]

    def _network(self) -> list[str]:
        if self._params["network"] != USER_NETWORK:
            return ["--network", f"network={self._params['network']},model=virtio"]
        restrict = "off" if self._params["internet"] else "on"
        forward = f"user,id=lease,restrict={restrict},hostfwd=tcp:127.0.0.1:{free_port()}-{ADDRESS}:22"
        card = f"virtio-net-pci,netdev=lease,romfile=,mac={MAC},addr=0x10"
        return ["--network", "none", f"--qemu-commandline=-netdev {forward} -device {card}"]

    def _virsh(self, *words: str) -> str:
        return self._run(["virsh", "--quiet", "--connect", self._params["uri"], *words])

    def _run(self, command: list[str]) -> str:
        # Where a libvirt of one's own is, and its configuration; a remote one may be reached by SSH.
        ours = {
            name: value for name, value in os.environ.items() if name in ("HOME", "SSH_AUTH_SOCK") or "XDG_" in name
        }
        ran = run(command, environment=ours)
        if ran.returncode != 0:
            said = clean(how_it_ended(ran), 200)
            if "failed to connect" in ran.stderr.lower():
                uri = self._params["uri"]
                raise InfrastructureError(f"no libvirt answers at {uri}: set provision.libvirt.uri ({said})")
            raise InfrastructureError(f"{' '.join(command[:1] + command[4:6])} failed: {said}")
        return ran.stdout


def work(params: dict[str, Any]) -> Part:
    """Have them, or remove them; see the module's docstring."""
    domains = Domains(params)
    if params["state"] == "absent":
        return {"outputs": {"returned": domains.remove()}}
    if not Path(params["disk"]).is_file():
        raise InfrastructureError(f"there is no disk to boot at {params['disk']}")
    names = domains.names()
    if len(names) != params["hosts_wanted"] or not all(map(domains.running, names)):
        domains.remove()
        domains.make_pool()
        for number in range(1, params["hosts_wanted"] + 1):
            domains.create(number)
    return {"hosts": _described(domains, params)}


def _described(domains: Domains, params: dict[str, Any]) -> list[dict[str, Any]]:
    end = time.monotonic() + params["seconds"]
    hosts = []
    for number, name in enumerate(domains.names(), 1):
        while not (place := domains.place(name)):
            if time.monotonic() > end:
                raise InfrastructureError(
                    f"{name} got no address in {params['seconds']:.0f} s: does it boot, and is the network "
                    f"{params['network']} active?"
                )
            time.sleep(_POLL_SECONDS)
        address, port = place
        host = {"name": f"host-{number}", "address": address, "port": port, "user": "root"}
        hosts.append({**host, "arch": params["arch"], "id": name})
    return hosts


if __name__ == "__main__":
    run_module(ARGUMENTS, work)
