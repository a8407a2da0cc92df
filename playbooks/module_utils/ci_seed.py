"""What a host is told when it first boots: a seed in cloud-init's NoCloud format.

It is a volume labelled `cidata` with the files `meta-data`, `user-data` and `network-config`:
https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html. QEMU makes it of a folder.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_vm import MAC, NAME_SERVER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LABEL: Final = "cidata"
_PREFIX: Final = "10.17.0"
_FIRST_PORT: Final = 20_000
_PORTS: Final = 40_000


@dataclass(frozen=True)
class Segment:
    """A host's place in the network the hosts of one cluster have among themselves: the `number`th of them."""

    cluster: Path
    number: int

    @property
    def address(self) -> str:
        """Its address there."""
        return f"{_PREFIX}.{self.number}"

    @property
    def mac(self) -> str:
        """Its card's address."""
        return f"52:54:00:11:00:{self.number:02x}"

    def devices(self) -> list[str]:
        """Return QEMU's arguments for the card. What it sends goes to all machines of one multicast group.

        The group is made of the cluster's folder, so that two clusters on one builder do not meet.
        """
        drawn = hashlib.sha256(str(self.cluster).encode()).digest()
        group = ".".join(map(str, (239, *drawn[:3])))
        port = _FIRST_PORT + int.from_bytes(drawn[3:7], "big") % _PORTS
        network = f"socket,id=segment,mcast={group}:{port},localaddr=127.0.0.1"
        return ["-netdev", network, "-device", f"virtio-net-pci,netdev=segment,romfile=,mac={self.mac}"]


def write_seed(folder: Path, name: str, public_key: str, segment: Segment | None, *, internet: bool) -> None:
    """Write the seed of a host called `name`, which root logs in to with a key, to a new folder."""
    folder.mkdir()
    files = {
        "meta-data": [f"instance-id: {name}", f"local-hostname: {name}"],
        "user-data": ["#cloud-config", "disable_root: false", "ssh_authorized_keys:", f"  - {public_key}"],
        "network-config": _network(segment, internet=internet),
    }
    for file, lines in files.items():
        (folder / file).write_text("\n".join(lines) + "\n", encoding="ascii")


def seed_drive(folder: Path) -> list[str]:
    """Return QEMU's arguments for a read-only disk whose one partition is the seed in this folder."""
    node = {"driver": "vvfat", "node-name": "seed", "dir": str(folder), "label": LABEL, "read-only": True}
    return ["-blockdev", json.dumps(node), "-device", "virtio-blk-pci,drive=seed"]


def _network(segment: Segment | None, *, internet: bool) -> list[str]:
    lines = ["version: 2", "ethernets:", *_card("outside", MAC), "    dhcp4: true"]
    if internet:
        lines += [f"    nameservers: {{addresses: [{NAME_SERVER}]}}"]
    if segment:
        lines += [*_card("inside", segment.mac), f"    addresses: [{segment.address}/24]"]
    return lines


def _card(name: str, mac: str) -> Sequence[str]:
    # In quotes: YAML 1.1 reads digits with colons between them as a number to the base 60.
    return [f"  {name}:", "    match:", f'      macaddress: "{mac}"']
