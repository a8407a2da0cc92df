"""A real Duffy on loopback, in an environment of its own: its pins are others than ours."""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

UV: Final = Path(__file__).parents[2] / ".tools" / "bin" / "uv"
PACKAGE: Final = "duffy[app,database,sqlite,tasks]==3.4.0"
POOL: Final = "hosts"
CONFIGURATION: Final = """\
app: {{host: 127.0.0.1, port: {port}}}
database: {{sqlalchemy: {{sync_url: "sqlite:///{folder}/db", async_url: "sqlite+aiosqlite:///{folder}/db"}}}}
# What it would have its workers do stays in its memory: there are none, a pool is filled by the test.
tasks:
  celery: {{broker_url: "memory://localhost/", result_backend: "cache+memory://"}}
  locking: {{url: "redis://127.0.0.1:1"}}
defaults: {{session-lifetime: 1h, session-lifetime-max: 12h, node-quota: 3}}
nodepools:
  concrete:
    hosts:
      fill-level: 1
      mechanism: {{type: ansible, ansible: {{topdir: {folder}, provision: {{playbook: none.yml}}}}}}
"""


class DuffyServer:
    """Duffy in a folder; `key` is what its tenant `us` asks with."""

    def __init__(self, folder: Path, environment: Path) -> None:
        """Set it up, with a tenant that logs in with the key pair `tenant` in the folder."""
        self.folder, self.port = folder, _free_port()
        self.identity = folder / "tenant"
        self._program = environment / "bin" / "duffy"
        (folder / "duffy.yaml").write_text(CONFIGURATION.format(port=self.port, folder=folder), encoding="ascii")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.identity)], check=True)
        self._duffy("setup-db")
        public = self.identity.with_suffix(".pub").read_text(encoding="ascii").strip()
        self.key = self._duffy("admin", "create-tenant", "us", public).split()[-1]

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self.port}/api/v1"

    @contextlib.contextmanager
    def running(self, agent: str) -> Iterator[DuffyServer]:
        """Run it for the block; it logs in to hosts with what the agent at this socket has."""
        command = [str(self._program), "-c", str(self.folder / "duffy.yaml"), "serve"]
        with (self.folder / "log").open("wb") as log:
            environment = {"PATH": os.environ["PATH"], "SSH_AUTH_SOCK": agent}
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            self._wait(process)
            yield self
        finally:
            process.terminate()
            process.wait()

    def add(self, name: str, address: str) -> None:
        """Put a host into the pool."""
        row = (name, address, "ready", POOL, False, "{}", "2026-01-01 00:00:00.000000")
        columns = "hostname, ipaddr, state, pool, reusable, data, created_at"
        with contextlib.closing(sqlite3.connect(self.folder / "db")) as database, database:
            database.execute(f"INSERT INTO nodes ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608 - ours

    def remove(self, name: str) -> None:
        """Take a host off the books, as Duffy's workers do once it is deprovisioned."""
        with contextlib.closing(sqlite3.connect(self.folder / "db")) as database, database:
            database.execute("UPDATE nodes SET retired_at = created_at WHERE hostname = ?", (name,))

    def request(self) -> int:
        """Lend a host to the tenant past any lease, as a request whose answer never came; return the session."""
        body = {"nodes_specs": [{"pool": POOL, "quantity": 1}]}
        answer = httpx.post(f"{self.url}/sessions", json=body, auth=("us", self.key), timeout=60)
        return int(answer.raise_for_status().json()["session"]["id"])

    def sessions(self) -> list[dict[str, Any]]:
        """Return the sessions that go on."""
        answer = httpx.get(f"{self.url}/sessions", auth=("us", self.key))
        sessions: list[dict[str, Any]] = answer.raise_for_status().json()["sessions"]
        return sessions

    def _duffy(self, *arguments: str) -> str:
        command = [str(self._program), "-c", str(self.folder / "duffy.yaml"), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)


def environment(folder: Path) -> Path:
    """Return an environment with Duffy, made with uv."""
    variables = os.environ | {"UV_SYSTEM_CERTS": "true"}
    subprocess.run([UV, "venv", "-q", "--python", "3.11", folder], check=True, env=variables)
    command = [UV, "pip", "install", "-q", "--python", folder / "bin" / "python", PACKAGE]
    subprocess.run(command, check=True, env=variables)
    return folder


@contextlib.contextmanager
def agent_with(key: Path) -> Iterator[str]:
    """Run an SSH agent that has a key; yield its socket."""
    path = key.with_name("agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        subprocess.run(["ssh-add", "-q", str(key)], check=True, env=os.environ | {"SSH_AUTH_SOCK": str(path)})
        yield str(path)
    finally:
        agent.terminate()
        agent.wait()


@contextlib.contextmanager
def at_port_22(address: str, port: int) -> Iterator[None]:
    """Have a port of 127.0.0.1 answer at port 22 of another address of the loopback: Duffy knows no other port."""

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as other:
                back = threading.Thread(target=_copy, args=(other, self.request))
                back.start()
                _copy(self.request, other)
                back.join()

    with socketserver.ThreadingTCPServer((address, 22), Forward) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield
        server.shutdown()
        thread.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
