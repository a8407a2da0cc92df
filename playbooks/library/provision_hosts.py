#!/usr/bin/python
"""Boot the hosts of a cluster from the image that passed the smoke test, and leave them running.

The image is only read: each host writes to an overlay of its own. All of them come up, with their name and for the key
`key` in `cluster_dir`, or none is left. What an earlier try left there is ended and removed first.
"""

from __future__ import annotations

import contextlib
import shutil
from functools import partial
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_cluster import Cluster, process_of
from ansible.module_utils.ci_host_checks import CheckError, Ssh
from ansible.module_utils.ci_image import verified
from ansible.module_utils.ci_process import end_with_ancestors
from ansible.module_utils.ci_seed import Segment, seed_drive, write_seed
from ansible.module_utils.ci_stage import InfrastructureError, Part, StageError, run_module
from ansible.module_utils.ci_tools import Clock, output
from ansible.module_utils.ci_vm import ACCELERATORS, ADDRESS, SSH_PORT, Vm, drive, speaks_ssh

ARGUMENTS: Final[dict[str, Any]] = {
    "image_dir": {"type": "path", "required": True},
    "image_name": {"type": "str", "required": True},
    "image_sha256": {"type": "str", "required": True},
    "cluster_dir": {"type": "path", "required": True},
    "hosts_wanted": {"type": "int", "required": True},
    "api_port": {"type": "int", "required": True},
    "internet": {"type": "bool", "default": False},
    "cpus": {"type": "int", "default": 1},
    "accelerator": {"type": "str", "choices": list(ACCELERATORS), "default": "tcg"},
    "workspace": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
}
MOST_HOSTS: Final = 100


def provision(params: dict[str, Any]) -> Part:
    """Boot them; see the module's docstring. Returns the outputs of provision_hosts."""
    if not 1 <= params["hosts_wanted"] <= MOST_HOSTS:
        raise InfrastructureError(f"a cluster has 1 to {MOST_HOSTS} hosts, not {params['hosts_wanted']}")
    cluster = Cluster(Path(params["cluster_dir"]))
    cluster.end()
    cluster.remove()
    image = verified(Path(params["image_dir"]), params["image_name"], params["image_sha256"])
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
    outputs = {"cluster_hosts": hosts.described, "provision_seconds": round(seconds, 3)}
    return {"outputs": outputs, "tool_seconds": Clock.spent()}


class Hosts:
    """The hosts of a cluster while they are made."""

    def __init__(self, cluster: Cluster, params: dict[str, Any]) -> None:
        """Take the cluster whose hosts they are, and the module's parameters."""
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
        machine = self._machine(folder, disk, segment, [SSH_PORT, self._params["api_port"]][: 2 if number == 1 else 1])
        self._machines.append(machine)
        machine.start_detached(partial(self._record, machine, segment))
        self.described.append(self._describe(machine, segment))

    def _machine(self, folder: Path, disk: Path, segment: Segment | None, forward: list[int]) -> Vm:
        return Vm(
            folder,
            [*drive(disk, "qcow2"), *seed_drive(folder / "seed")],
            int(self._params["limits"]["memory_mb"]),
            accelerator=self._params["accelerator"],
            cpus=self._params["cpus"],
            forward=forward,
            internet=self._params["internet"],
            devices=segment.devices() if segment else [],
        )

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


if __name__ == "__main__":
    run_module(ARGUMENTS, provision)
