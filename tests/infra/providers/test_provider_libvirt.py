"""Provider libvirt with a libvirt of the tests' own: domains lent, lent again, and removed. Their disk is blank."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("libvirtd") or not shutil.which("virt-install"),
    reason="needs root, and libvirt-daemon, libvirt-daemon-driver-qemu, libvirt-clients and virtinst",
)
SCRIPT = Path(__file__).with_name("libvirt_session.py")
URI = "qemu:///session"


class Session:
    """A libvirt of the account `nobody`, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        named = {"XDG_RUNTIME_DIR": "run", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache", "HOME": "."}
        self.environment = {name: str(folder / place) for name, place in named.items()} | {"PATH": os.environ["PATH"]}
        self.call = {"lease": "ci-f26-1", "folder": str(folder / "ci-f26-1"), "disk": str(folder / "disk.qcow2")}
        self.call |= {"uri": URI, "network": "user", "arch": "x86_64", "lent_until": 4e9, "hosts_wanted": 2}
        self.call |= {"memory_mb": 256, "cpus": 1, "virt_type": "qemu", "seconds": 30.0, "internet": False}

    def command(self, *words: str) -> list[str]:
        # The account may read this checkout, whose folder may be root's alone.
        reading = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
        return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *reading, *words]

    def run(self, *words: str) -> str:
        done = subprocess.run(
            self.command(*words), env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def work(self, *calls: dict[str, Any]) -> list[dict[str, Any]]:
        done: list[dict[str, Any]] = json.loads(
            self.run(sys.executable, "-B", str(SCRIPT), json.dumps([self.call | call for call in calls]))
        )
        return done

    def listed(self) -> tuple[str, str]:
        virsh = ("virsh", "--quiet", "--connect", URI)
        return self.run(*virsh, "list", "--all", "--name"), self.run(*virsh, "pool-list", "--all", "--name")


@pytest.fixture
def session() -> Iterator[Session]:
    """A libvirt, with a blank disk; what it runs ends with it."""
    with tempfile.TemporaryDirectory(prefix="ci-libvirt-") as path:
        folder = Path(path)
        for name in ("run", "config", "cache"):
            (folder / name).mkdir()
            shutil.chown(folder / name, "nobody", "nogroup")
        shutil.chown(folder, "nobody", "nogroup")
        found = Session(folder)
        found.run("qemu-img", "create", "-q", "-f", "qcow2", "disk.qcow2", "16M")
        with (folder / "log").open("wb") as log:
            daemon = subprocess.Popen(
                found.command("libvirtd"), env=found.environment, cwd=folder, stdout=log, stderr=log
            )
        try:
            until = "until [ -S run/libvirt/libvirt-sock ]; do sleep 0.1; done"
            subprocess.run(["timeout", "30", "sh", "-c", until], cwd=folder, check=True)
            yield found
        finally:
            for pid in folder.glob("run/libvirt/qemu/run/*.pid"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid.read_text(encoding="ascii")), signal.SIGKILL)
            daemon.kill()
            daemon.wait()


def test_domains_are_lent_once_and_removed_with_all_they_had(session: Session) -> None:
    """Each has a port of this machine's; the pool of their disks bears the lease; twice is as good as once."""
    first, again = session.work({"state": "present"}, {"state": "present"})
    there = session.listed()
    title = session.run("virsh", "--connect", URI, "desc", "--title", "ci-f26-1-1")
    said = session.run("virsh", "--connect", URI, "desc", "ci-f26-1-2")
    returned = session.work({"state": "absent"}, {"state": "absent"})

    assert again == first
    assert [(host["name"], host["id"], host["address"]) for host in first["hosts"]] == [
        ("host-1", "ci-f26-1-1", "127.0.0.1"),
        ("host-2", "ci-f26-1-2", "127.0.0.1"),
    ]
    assert len({host["port"] for host in first["hosts"]}) == 2
    assert (there[0].split(), there[1]) == (["ci-f26-1-1", "ci-f26-1-2"], "ci-f26-1")
    assert (title, said) == ("ci-pipeline lease ci-f26-1", "until 4000000000")
    assert [done["outputs"] for done in returned] == [{"returned": 2}, {"returned": 0}]
    assert session.listed() == ("", "")
    assert not list((session.folder / "ci-f26-1" / "disks").iterdir())


def test_domains_of_a_lost_lease_are_removed_and_others_are_not(session: Session) -> None:
    """By their names alone; a lease whose id begins the same keeps its own."""
    other = {"lease": "ci-f26-1-1", "folder": str(session.folder / "other"), "hosts_wanted": 1}
    session.work({"state": "present", "hosts_wanted": 1}, {"state": "present", **other})
    shutil.rmtree(session.folder / "ci-f26-1")
    removed = session.work({"state": "absent"})

    assert removed == [{"outputs": {"returned": 1}}]
    assert session.listed() == ("ci-f26-1-1-1", "ci-f26-1-1")
