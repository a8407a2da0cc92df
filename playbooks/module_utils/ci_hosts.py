"""Virtual machines that boot an image and live on when the playbook that started them has ended.

The image is only read: each machine writes to an overlay of its own.
"""

from __future__ import annotations

import contextlib
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.ci_cluster import process_of
from ansible.module_utils.ci_host_checks import CheckError, Ssh
from ansible.module_utils.ci_process import end_with_ancestors
from ansible.module_utils.ci_seed import Segment, seed_drive, write_seed
from ansible.module_utils.ci_stage import InfrastructureError, StageError
from ansible.module_utils.ci_tools import Clock, output
from ansible.module_utils.ci_vm import ADDRESS, SSH_PORT, Vm, drive, firmware, speaks_ssh

if TYPE_CHECKING:
    from ansible.module_utils.ci_cluster import Cluster


def boot_all(cluster: Cluster, image: Path, params: dict[str, Any]) -> tuple[list[dict[str, Any]], float]:
    """Boot the hosts of a cluster from an image; return what is told of them, and the seconds the slowest took.

    `params` are the module's: those of `Hosts`, and `workspace`, where the consoles are kept when it fails. All come up
    or none is left, also when the playbook is stopped meanwhile. Raises InfrastructureError.
    """
    end_with_ancestors(cluster.end)
    hosts = Hosts(cluster, params)
    try:
        with contextlib.ExitStack() as undo, Clock.running():
            undo.callback(cluster.end)
            seconds = hosts.boot(image)
            undo.pop_all()
    except StageError as error:
        # The commit and the image have booted before: it is not the package's fault that they do not now.
        part = {"artifacts": hosts.consoles(Path(params["workspace"])), "tool_seconds": Clock.spent()}
        raise InfrastructureError(str(error), part) from error
    return hosts.described, seconds


class Hosts:
    """The hosts of a cluster, or of a lease, while they are made."""

    def __init__(self, cluster: Cluster, params: dict[str, Any]) -> None:
        """Take whose hosts they are, and the module's parameters.

        Those are hosts_wanted, api_port, internet, cpus, accelerator, arch, uefi and limits. The first host is reached
        at `api_port`, too, unless that is 0.
        """
        self.described: list[dict[str, Any]] = []
        self._cluster, self._params = cluster, params
        self._recorded: list[dict[str, Any]] = []
        self._machines: list[Vm] = []

    def boot(self, image: Path) -> float:
        """Start all, then wait for each; return the seconds from a host's start that the slowest took."""
        public_key = self._cluster.create()
        for number in range(1, self._params["hosts_wanted"] + 1):
            self._start(image, number, public_key)
        return max(map(self._came_up, self._machines))

    def consoles(self, folder: Path) -> list[dict[str, str]]:
        """Copy what the hosts' consoles said to a folder; return the copies as artifacts."""
        said = [(machine.console, machine.folder.name) for machine in self._machines if machine.console.exists()]
        copies = [shutil.copyfile(console, folder / f"{name}.console.log") for console, name in said]
        return [{"path": str(path), "kind": "log"} for path in copies]

    def _start(self, image: Path, number: int, public_key: str) -> None:
        folder = self._cluster.folder / f"host-{number}"
        folder.mkdir()
        segment = Segment(self._cluster.folder, number) if self._params["hosts_wanted"] > 1 else None
        write_seed(folder / "seed", folder.name, public_key, segment, internet=self._params["internet"])
        disk = folder / "disk.qcow2"
        output(["qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", disk])
        machine = self._machine(folder, disk, segment, self._ports_of(number))
        self._machines.append(machine)
        machine.start_detached(partial(self._record, machine, segment))
        self.described.append(self._describe(machine, segment))

    def _machine(self, folder: Path, disk: Path, segment: Segment | None, forward: list[int]) -> Vm:
        uefi = firmware(self._params["arch"]) if self._params["uefi"] else []
        return Vm(
            folder,
            [*uefi, *drive(disk, "qcow2"), *seed_drive(folder / "seed")],
            int(self._params["limits"]["memory_mb"]),
            accelerator=self._params["accelerator"],
            cpus=self._params["cpus"],
            forward=forward,
            internet=self._params["internet"],
            devices=segment.devices() if segment else [],
            arch=self._params["arch"],
        )

    def _ports_of(self, number: int) -> list[int]:
        api_port = self._params["api_port"]
        return [SSH_PORT, api_port] if number == 1 and api_port else [SSH_PORT]

    def _record(self, machine: Vm, segment: Segment | None, pid: int) -> None:
        """List the host; another try to start it, with other ports, takes the place of the first."""
        others = [host for host in self._recorded if host["name"] != machine.folder.name]
        self._recorded = [*others, self._describe(machine, segment) | process_of(pid)]
        self._cluster.record(self._recorded)

    def _describe(self, machine: Vm, segment: Segment | None) -> dict[str, Any]:
        return {
            "name": machine.folder.name,
            "address": "127.0.0.1",
            "port": machine.ports[SSH_PORT],
            "user": "root",
            "api_port": machine.ports.get(self._params["api_port"], 0),
            "inside": segment.address if segment else ADDRESS,
        }

    def _came_up(self, machine: Vm) -> float:
        name, port = machine.folder.name, machine.ports[SSH_PORT]
        try:
            seconds: float = machine.wait(lambda: speaks_ssh(port), float(self._params["limits"]["boot_seconds"]))
            called = Ssh(port, self._cluster.key).run("cat /proc/sys/kernel/hostname").strip()
        except (StageError, CheckError) as error:
            raise InfrastructureError(f"{name}: {error}") from error
        if called != name:
            raise InfrastructureError(f"{name} did not read its seed: it is called {called}")
        return seconds
