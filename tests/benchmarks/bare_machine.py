"""A virtual machine for the yardsticks, emulated as the pipeline's are."""

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

_MACHINE: Final = ("-nodefaults", "-display", "none", "-accel", "tcg", "-m", "1024", "-device", "virtio-rng-pci")
_BOOT_SECONDS: Final = 300.0


class Machine:
    """A virtual machine that runs for a block."""

    def __init__(self, console: Path, arguments: tuple[str, ...]) -> None:
        self._command = ("qemu-system-x86_64", *_MACHINE, "-serial", f"file:{console}", *arguments, "-no-reboot")

    def __enter__(self) -> Self:
        """Start it."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def wait(self, ready: Callable[[], bool]) -> None:
        """Wait until the guest is ready."""
        end = time.monotonic() + _BOOT_SECONDS
        while not ready():
            assert self._process.poll() is None, "QEMU ended"
            assert time.monotonic() < end, f"nothing came up in {_BOOT_SECONDS:.0f} s"
            time.sleep(0.05)


def speaks_ssh(port: int) -> bool:
    """Tell whether an SSH server answers. QEMU takes connections before the guest does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.settimeout(1)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def free_port() -> int:
    """Return a loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
