"""Hosts like the demo's, without a machine each: busybox and dropbear on a read-only /usr, their own /etc and /var.

They share the builder's network, and live in a folder that may be looked into. There is no Python on them, and no scp.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ROOT: Final = os.geteuid() == 0
# Without root nobody can change to another account, as dropbear does for root.
USER: Final = "root" if ROOT else "core"
_UID: Final = 0 if ROOT else 1000
_APPLETS: Final = (
    *("cat", "chmod", "cp", "dirname", "echo", "id", "kill", "mkdir", "mv"),
    *("printf", "rm", "setsid", "sh", "sha256sum", "sleep", "tail"),
)
_TRIES: Final = 5
_START_SECONDS: Final = 10
# Only where root is no account: as root the module asks for none.
_SUDO: Final = """#!/bin/sh
# A stand-in for sudo: everything on this host belongs to this account.
while :; do case $1 in -u) shift 2 ;; -*) shift ;; *) break ;; esac; done
exec "$@"
"""


@dataclass
class SshHost:
    """One host: `folder` is its root, `port` where it listens on 127.0.0.1, `deployed` the commit it says it runs."""

    folder: Path
    name: str
    port: int = 0
    deployed: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def request(self, **more: Any) -> dict[str, Any]:
        """Return the host as the request of a stage has it."""
        number = int(self.name.rpartition("-")[2])
        places = {"port": self.port, "api_port": 16443, "inside": f"10.0.2.{14 + number}"}
        return {"name": self.name, "address": "127.0.0.1", "user": USER} | places | more

    def install(self, programs: Mapping[str, str]) -> None:
        """Put programs into its image, by name."""
        for name, text in programs.items():
            path = self.folder / "usr" / "bin" / name
            path.write_text(text, encoding="ascii")
            path.chmod(0o755)

    def text(self, path: str) -> str:
        """Return what is in one of its files."""
        return (self.folder / path.lstrip("/")).read_text(encoding="utf-8")

    @contextlib.contextmanager
    def running(self, public_key: str) -> Iterator[SshHost]:
        """Have it run for the block; whoever has the key may log in. All its processes end with it."""
        self._build(public_key)
        try:
            self._start()
            yield self
        finally:
            if self.process:
                self.process.kill()
                self.process.wait()

    def _build(self, public_key: str) -> None:
        for name in ("etc/dropbear", "home/.ssh", "run", "var/usrlocal", "usr/bin", "usr/lib", "usr/lib64", "usr/sbin"):
            (self.folder / name).mkdir(parents=True, mode=0o755)
        if self.deployed:
            (self.folder / "run" / f"{self.deployed}.0").mkdir()
        busybox = shutil.which("busybox")
        assert busybox, "busybox is not installed"
        shutil.copy(busybox, self.folder / "usr" / "bin" / "busybox")
        for name in _APPLETS:
            (self.folder / "usr" / "bin" / name).symlink_to("busybox")
        (self.folder / "usr" / "local").symlink_to("../var/usrlocal")
        (self.folder / "usr" / "sbin" / "dropbear").touch()
        (self.folder / "etc" / "passwd").write_text(f"{USER}:x:{_UID}:{_UID}::/home:/bin/sh\n", encoding="ascii")
        (self.folder / "etc" / "group").write_text(f"{USER}:x:{_UID}:\n", encoding="ascii")
        (self.folder / "home" / ".ssh" / "authorized_keys").write_text(public_key, encoding="ascii")
        self.install({"sudo": _SUDO})

    def _start(self) -> None:
        for _ in range(_TRIES):
            self.port = _free_port()
            with (self.folder.parent / f"{self.name}.log").open("ab") as log:
                self.process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            if self._answers():
                return
        raise RuntimeError((self.folder.parent / f"{self.name}.log").read_text(encoding="utf-8"))

    def _command(self) -> list[str]:
        dropbear = shutil.which("dropbear", path="/usr/sbin:/usr/bin")
        assert dropbear, "dropbear is not installed"
        words = ["bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--clearenv"]
        words += ["--cap-add", "ALL"] if ROOT else ["--unshare-user", "--uid", str(_UID), "--gid", str(_UID)]
        words += ["--ro-bind", str(self.folder / "usr"), "/usr", "--ro-bind", dropbear, "/usr/sbin/dropbear"]
        for name in ("/usr/lib", "/usr/lib64"):
            words += ["--ro-bind", name, name, "--symlink", name.lstrip("/"), name.removeprefix("/usr")]
        words += ["--symlink", "usr/bin", "/bin"]
        # Where a kernel that was started without `ostree=` has its deployment.
        words += ["--symlink", f"run/{self.deployed}.0", "/sysroot"] if self.deployed else []
        for name in ("etc", "var", "run", "home"):
            words += ["--bind", str(self.folder / name), f"/{name}"]
        words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
        return [*words, "--", "/usr/sbin/dropbear", "-R", "-F", "-E", "-s", "-p", f"127.0.0.1:{self.port}"]

    def _answers(self) -> bool:
        assert self.process is not None
        end = time.monotonic() + _START_SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as server:
                return server.recv(4) == b"SSH-"
            time.sleep(0.02)
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
