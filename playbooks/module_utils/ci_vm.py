"""A virtual machine that lives no longer than the module that started it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_sandbox import last_line, require, tail
from ansible.module_utils.ci_stage import InfrastructureError, PackageError, clean
from ansible.module_utils.ci_tools import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ansible.module_utils.ci_stage import StageError

ACCELERATORS: Final = ("tcg", "kvm")
_PR_SET_PDEATHSIG: Final = 1
_TRIES: Final = 5
_POLL_SECONDS: Final = 0.05


@dataclass
class Vm:
    """How to start a machine: QEMU's arguments for its disk and kernel, its memory in MB, the console's file.

    `forward`: the guest's SSH is reachable at 127.0.0.1:`port` once it runs; the guest reaches nothing.
    """

    folder: Path
    disk: Sequence[str]
    memory_mb: int
    accelerator: str = "tcg"
    forward: bool = False
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

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
                self._start()
                yield self
        finally:
            self.stop()

    def wait(self, ready: Callable[[], bool], seconds: float) -> float:
        """Wait until `ready()`; return the seconds it took.

        Raises InfrastructureError when QEMU cannot run, PackageError when the guest's system stops or takes too long.
        """
        started = time.monotonic()
        while not ready():
            spent = time.monotonic() - started
            if self.process is None or self.process.poll() is not None:
                raise self._ended(spent)
            if spent > seconds:
                raise PackageError(f"the composed host did not come up in {seconds:.0f} s; {self._said()}")
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - started

    def stop(self) -> None:
        """End the machine, by its own process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def console_text(self) -> str:
        """Return the end of what the console said so far."""
        return tail(self.console) if self.console.exists() else ""

    def _start(self) -> None:
        program = require("qemu-system-x86_64")
        for _ in range(_TRIES):
            self.port = _free_port() if self.forward else 0
            with (self.folder / "qemu.log").open("wb") as log:
                self.process = subprocess.Popen(
                    [program, *self._arguments()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    preexec_fn=_end_with_parent,  # noqa: PLW1509 - nothing else runs in the child
                )
            if not self._lost_port():
                return
        raise InfrastructureError(f"no free port for the host's SSH in {_TRIES} tries: {self._qemu_said()}")

    def _arguments(self) -> list[str]:
        words = ["-nodefaults", "-no-reboot", "-display", "none", "-no-user-config", "-accel", self.accelerator]
        words += ["-m", str(self.memory_mb), "-smp", "1", "-serial", f"file:{self.console}"]
        words += ["-device", "virtio-rng-pci", *self.disk]
        if self.forward:
            network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-10.0.2.15:22"
            words += ["-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile="]
        return words

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


def drive(path: Path, kind: str, *, snapshot: bool = False) -> list[str]:
    """Return QEMU's arguments for a virtio disk; with `snapshot` the file is only read."""
    name = str(path).replace(",", ",,")
    options = f"file={name},format={kind},if=none,id=root,cache=unsafe,snapshot={'on' if snapshot else 'off'}"
    return ["-drive", options, "-device", "virtio-blk-pci,drive=root"]


def speaks_ssh(port: int) -> bool:
    """Say whether an SSH server answers. QEMU takes connections before the guest does, so only its greeting counts."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.settimeout(1)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def end_with_ancestors() -> None:
    """End this process, and so its machine, when a process above it ends: the playbook was stopped.

    An SSH connection that breaks ends sshd's process above a module, so this holds on remote builders, too.
    """
    watched = select.poll()
    process = os.getppid()
    while process > 1:
        with contextlib.suppress(OSError):
            watched.register(os.pidfd_open(process), select.POLLIN)
        process = _parent_of(process)

    def watch() -> None:
        watched.poll()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _parent_of(process: int) -> int:
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
