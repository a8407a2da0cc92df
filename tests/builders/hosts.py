"""Builders to test with: real sshd, each a host of its own as far as that can be made on one machine.

As root a host has its own network, connected by a cable (a veth pair) that can be pulled out, its own processes, which
all end when its power is cut, and a file system in which the pipeline's own state is not there. Without root it is an
sshd on a port of the loopback, whose processes are stopped or killed.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
import yaml

from ci_pipeline.builders.inventory import Builder

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = os.geteuid() == 0
_SSHD: Final = "/usr/sbin/sshd"
_START_SECONDS: Final = 20


@dataclass
class SshdHost:
    """One host. `folder` is where its files are, `hidden` a folder of the test that it must not see."""

    name: str
    folder: Path
    hidden: Path
    variables: dict[str, Any] = field(default_factory=dict)
    address: str = "127.0.0.1"
    port: int = 22
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def state(self) -> Path:
        """The folder there that the pipeline may use."""
        return self.folder / "state"

    @property
    def network(self) -> str:
        """The name of its network, and of its cable."""
        return f"cib{self._number}"

    def __post_init__(self) -> None:
        """Draw a number, for its names and addresses."""
        self._number = secrets.randbelow(1 << 14)

    def start(self, authorized: Path) -> None:
        """Switch it on; whoever has the key of `authorized` may log in."""
        self.folder.mkdir(parents=True, exist_ok=True)
        key = self.folder / "host_key"
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        if ROOT:
            self._connect()
        else:
            self.port = _free_port()
        self._configure(authorized, key)
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait()

    def stop(self) -> None:
        """Cut its power: everything on it ends at once."""
        if self.process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.process.pid).children(recursive=True)
            for one in [*family, self.process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        self.process.wait()
        self.process = None

    def pull_out(self) -> None:
        """Pull its cable out: nothing comes through, and nobody is told."""
        if ROOT:
            _run("ip", "link", "set", self.network, "down")
        else:
            self._signal(signal.SIGSTOP)

    def plug_in(self) -> None:
        """Put its cable back."""
        if ROOT:
            _run("ip", "link", "set", self.network, "up")
        else:
            self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """Leave nothing of it behind."""
        if not ROOT:
            self._signal(signal.SIGCONT)
        self.stop()
        if ROOT:
            subprocess.run(["ip", "netns", "delete", self.network], check=False, capture_output=True)
            subprocess.run(["ip", "link", "delete", self.network], check=False, capture_output=True)

    def processes(self, words: str) -> list[psutil.Process]:
        """Return what runs on it with these words on its command line."""
        if self.process is None:
            return []
        found = []
        for one in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if words in " ".join(one.cmdline()):
                    found.append(one)
        return found

    def entry(self, key: Path, known_hosts: Path) -> dict[str, Any]:
        """Return its variables in the inventory."""
        return {
            "ansible_host": self.address,
            "ansible_port": self.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(key),
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={shlex.quote(str(known_hosts))}",
            "ansible_python_interpreter": sys.executable,
            "ansible_remote_tmp": str(self.folder / "tmp"),
            "builder_folder": str(self.state),
            **self.variables,
        }

    def known(self) -> str:
        """Return its line of known_hosts."""
        place = self.address if self.port == 22 else f"[{self.address}]:{self.port}"
        kind, key = (self.folder / "host_key.pub").read_text(encoding="ascii").split()[:2]
        return f"{place} {kind} {key}\n"

    def _connect(self) -> None:
        """Make its network, and the cable to it: four addresses of 10.213/16 of its own."""
        if Path("/sys/class/net", self.network).exists():
            return
        base = (10 << 24) + (213 << 16) + (self._number << 2)
        ours, self.address = (socket.inet_ntoa((base + last).to_bytes(4, "big")) for last in (1, 2))
        name = self.network
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "address", "add", f"{ours}/30", "dev", name)
        _run("ip", "link", "set", name, "up")
        _run("ip", "-n", name, "address", "add", f"{self.address}/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            _run("ip", "-n", name, "link", "set", device, "up")

    def _configure(self, authorized: Path, key: Path) -> None:
        lines = {
            "ListenAddress": self.address,
            "Port": self.port,
            "HostKey": key,
            "AuthorizedKeysFile": authorized,
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "ClientAliveInterval": 5,
            "ClientAliveCountMax": 2,
        }
        text = "".join(f"{name} {value}\n" for name, value in lines.items())
        (self.folder / "sshd_config").write_text(text, encoding="ascii")

    def _command(self) -> list[str]:
        server = [_SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        if not ROOT:
            return server
        hide = f"mount -t tmpfs hidden {shlex.quote(str(self.hidden))}"
        script = f"mount -t tmpfs run /run && mkdir /run/sshd && {hide} && exec {shlex.join(server)}"
        alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return ["ip", "netns", "exec", self.network, *alone, "sh", "-c", script]

    def _wait(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self.process and self.process.poll() is None:
            with (
                contextlib.suppress(OSError),
                socket.create_connection((self.address, self.port), timeout=1) as server,
            ):
                if server.recv(4) == b"SSH-":
                    return
            time.sleep(0.02)
        raise RuntimeError((self.folder / "sshd.log").read_text(encoding="utf-8"))

    def _signal(self, number: int) -> None:
        if self.process is not None:
            for one in [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.send_signal(number)


@dataclass
class Lab:
    """Hosts, a key that opens them, and an inventory that names them."""

    folder: Path
    hidden: Path
    hosts: list[SshdHost] = field(default_factory=list)

    @property
    def inventory(self) -> Path:
        """The inventory, as it was written last."""
        return self.folder / "inventory.yml"

    @property
    def key(self) -> Path:
        """The private key."""
        return self.folder / "key"

    def add(self, name: str, **variables: Any) -> SshdHost:
        """Switch a host on, and put it into the inventory."""
        host = SshdHost(name, self.folder / name, self.hidden, variables)
        self.hosts.append(host)
        host.start(self.key.with_suffix(".pub"))
        self.write()
        return host

    @property
    def known_hosts(self) -> Path:
        """The hosts' keys, for ssh."""
        return self.folder / "known_hosts"

    def builder(self, name: str) -> Builder:
        """Return a host as the inventory has it, without asking Ansible."""
        host = next(one for one in self.hosts if one.name == name)
        entry = {"builder_arch": "x86_64", **host.entry(self.key, self.known_hosts), "name": name}
        return Builder.model_validate(entry)

    def write(self) -> None:
        """Write the inventory and the known hosts."""
        self.known_hosts.write_text("".join(host.known() for host in self.hosts), encoding="ascii")
        entries = {host.name: host.entry(self.key, self.known_hosts) for host in self.hosts}
        self.inventory.write_text(yaml.safe_dump({"builders": {"hosts": entries}}), encoding="utf-8")


@contextlib.contextmanager
def lab(folder: Path, hidden: Path) -> Iterator[Lab]:
    """Have a lab for the block. `hidden` is a folder of the pipeline that none of its hosts may see."""
    folder.mkdir(parents=True, exist_ok=True)
    hidden.mkdir(parents=True, exist_ok=True)
    made = Lab(folder, hidden)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(made.key)], check=True)
    try:
        yield made
    finally:
        for host in made.hosts:
            host.remove()


def wait_until(true: Any, seconds: float = 60) -> None:
    """Wait until a function returns something true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def _run(*command: str) -> None:
    subprocess.run(list(command), check=True, capture_output=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
