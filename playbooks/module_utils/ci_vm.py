"""A virtual machine: one that lives no longer than the module that started it, or one that is left running."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_process import end_with_ancestors
from ansible.module_utils.ci_sandbox import last_line, require, tail
from ansible.module_utils.ci_stage import InfrastructureError, PackageError, clean
from ansible.module_utils.ci_tools import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from ansible.module_utils.ci_stage import StageError

ACCELERATORS: Final = ("tcg", "kvm")
# What a machine of another architecture than the PC's has to be told, and where its serial console is.
_MACHINES: Final = {"x86_64": [], "aarch64": ["-machine", "virt"]}
CONSOLES: Final = {"x86_64": "ttyS0", "aarch64": "ttyAMA0"}
# UEFI for machines that boot from their disk: Fedora's, then Debian's.
FIRMWARE: Final = {
    "x86_64": ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd"),
    "aarch64": ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/AAVMF/AAVMF_CODE.fd"),
}
_FIRMWARE_PACKAGES: Final = {
    "x86_64": "edk2-ovmf (Debian: ovmf)",
    "aarch64": "edk2-aarch64 (Debian: qemu-efi-aarch64)",
}
SSH_PORT: Final = 22
# Of a machine with `forward`: its address, its first network card, and the server it may ask for names.
ADDRESS: Final = "10.0.2.15"
MAC: Final = "52:54:00:12:34:56"
NAME_SERVER: Final = "10.0.2.3"
_PR_SET_PDEATHSIG: Final = 1
_TRIES: Final = 5
_POLL_SECONDS: Final = 0.05
# Becomes QEMU when a line comes, and ends when the line cannot come any more.
_GATE: Final = 'read -r go && exec "$0" "$@" </dev/null'


@dataclass
class Vm:
    """How to start a machine: QEMU's arguments for its disk and kernel, its memory in MB, the console's file.

    `forward`: these ports of the guest are reachable at 127.0.0.1, at the ports that `ports` maps them to once it runs.
    The guest reaches nothing, unless `internet`. `devices` are QEMU's arguments for what comes after the first network
    card. A machine of another architecture than the builder's is emulated (tcg).
    """

    folder: Path
    disk: Sequence[str]
    memory_mb: int
    accelerator: str = "tcg"
    cpus: int = 1
    forward: Sequence[int] = ()
    internet: bool = False
    devices: Sequence[str] = ()
    arch: str = "x86_64"
    ports: Mapping[int, int] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _started: float = 0.0

    @property
    def console(self) -> Path:
        """What the guest wrote to its serial console."""
        return self.folder / "console.log"

    @contextlib.contextmanager
    def running(self) -> Iterator[Vm]:
        """Run the machine for the block.

        It ends with the block, with this process, or with the playbook, whichever is first.
        """
        end_with_ancestors()
        try:
            with Clock.running():
                self._start(_launch_attached)
                yield self
        finally:
            self.stop()

    def start_detached(self, record: Callable[[int], None]) -> None:
        """Start the machine so that it outlives this process, and may restart itself.

        `record` gets the number its process will have, before QEMU runs: no machine runs that nobody knows of.
        """
        self._start(lambda command, log: _launch_detached(command, log, record))

    def wait(self, ready: Callable[[], bool], seconds: float) -> float:
        """Wait until `ready()`, at most `seconds` from the start of the machine; return the seconds since then.

        Raises InfrastructureError when QEMU cannot run, PackageError when the guest's system stops or takes too long.
        """
        while not ready():
            spent = time.monotonic() - self._started
            if self.process is None or self.process.poll() is not None:
                raise self._ended(spent)
            if spent > seconds:
                raise PackageError(f"the composed host did not come up in {seconds:.0f} s; {self._said()}")
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - self._started

    def stop(self) -> None:
        """End the machine, by its own process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def console_text(self) -> str:
        """Return the end of what the console said so far."""
        return tail(self.console) if self.console.exists() else ""

    def _start(self, launch: Callable[[list[str], BinaryIO], subprocess.Popen[bytes]]) -> None:
        program = self._program()
        for _ in range(_TRIES):
            self.ports = {inside: free_port() for inside in self.forward}
            with (self.folder / "qemu.log").open("wb") as log:
                self.process = launch([program, *self._arguments()], log)
            self._started = time.monotonic()
            if not self._lost_port():
                return
        raise InfrastructureError(f"no free port for the host's SSH in {_TRIES} tries: {self._qemu_said()}")

    def _program(self) -> str:
        if self.arch not in _MACHINES:
            raise InfrastructureError(f"there are no machines for {clean(self.arch, 40)}")
        if self.accelerator == "kvm" and self.arch != platform.machine():
            raise InfrastructureError(
                f"a host of {self.arch} cannot run under KVM on this builder ({platform.machine()}); use tcg"
            )
        return require(f"qemu-system-{self.arch}")

    def _machine(self) -> list[str]:
        words: list[str] = list(_MACHINES[self.arch])
        # Without an own choice QEMU's virt machine is a processor of 32 bits.
        return [*words, "-cpu", "host" if self.accelerator == "kvm" else "max"] if words else words

    def _arguments(self) -> list[str]:
        words = [*self._machine(), "-nodefaults", "-display", "none", "-no-user-config", "-accel", self.accelerator]
        words += ["-m", str(self.memory_mb), "-smp", str(self.cpus), "-serial", f"file:{self.console}"]
        words += ["-device", "virtio-rng-pci", *self.disk]
        if self.forward:
            network = f"user,id=net,restrict={'off' if self.internet else 'on'}"
            for inside, outside in self.ports.items():
                network += f",hostfwd=tcp:127.0.0.1:{outside}-{ADDRESS}:{inside}"
            words += ["-netdev", network, "-device", f"virtio-net-pci,netdev=net,romfile=,mac={MAC}"]
        return [*words, *self.devices]

    def _lost_port(self) -> bool:
        """Say whether QEMU ended because another program took the port in between. It opens the console after it."""
        assert self.process is not None  # noqa: S101 - set by the caller
        while self.forward and not self.console.exists():
            if self.process.poll() is not None:
                return "host forwarding" in self._qemu_said()
            time.sleep(_POLL_SECONDS)
        return False

    def _ended(self, spent: float) -> StageError:
        code = self.process.returncode if self.process else 0
        if code < 0:
            return InfrastructureError(f"signal {-code} ended the virtual machine; is the builder out of memory?")
        if code == 0 and self.console_text().strip():
            return PackageError(f"the composed host stopped after {spent:.0f} s of booting; {self._said()}")
        return InfrastructureError(f"QEMU could not run the virtual machine: {self._qemu_said()}")

    def _said(self) -> str:
        return f"last console line: {last_line(self.console_text())}"

    def _qemu_said(self) -> str:
        return clean(tail(self.folder / "qemu.log"), 200) or "QEMU said nothing"


def firmware(arch: str) -> list[str]:
    """Return QEMU's arguments for UEFI, for a machine that boots from its disk. What it would store is forgotten."""
    found = next((path for path in FIRMWARE[arch] if Path(path).is_file()), None)
    if found is None:
        raise InfrastructureError(f"this builder has no UEFI for {arch}; install {_FIRMWARE_PACKAGES[arch]}")
    return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={found}"]


def drive(path: Path, kind: str, *, snapshot: bool = False) -> list[str]:
    """Return QEMU's arguments for a virtio disk; with `snapshot` the file is only read."""
    name = str(path).replace(",", ",,")
    options = f"file={name},format={kind},if=none,id=root,cache=unsafe,snapshot={'on' if snapshot else 'off'}"
    return ["-drive", options, "-device", "virtio-blk-pci,drive=root"]


def speaks_ssh(port: int, address: str = "127.0.0.1", seconds: float = 1) -> bool:
    """Say whether an SSH server answers. QEMU takes connections before the guest does, so only its greeting counts."""
    try:
        with socket.create_connection((address, port), timeout=seconds) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def free_port() -> int:
    """Return a loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _launch_attached(command: list[str], log: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*command, "-no-reboot"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - nothing else runs in the child
    )


def _launch_detached(command: list[str], log: BinaryIO, record: Callable[[int], None]) -> subprocess.Popen[bytes]:
    gate = ["/bin/sh", "-c", _GATE]
    process = subprocess.Popen(
        [*gate, *command], stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, cwd="/", start_new_session=True
    )
    assert process.stdin is not None  # noqa: S101 - it was asked for
    try:
        with process.stdin as line:
            record(process.pid)
            line.write(b"go\n")
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
