"""A private RabbitMQ node for tests, on loopback, that can be killed, paused and started again."""

import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pika
import psutil
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from ci_pipeline.stack import ports

START_SECONDS: Final = 60
_TRIES: Final = 3
_NOT_YET: Final = (AMQPError, AMQPConnectorException, OSError)
USER: Final = "ci"
LIMITED: Final = "limited"  # may publish topics that start with `allowed.`, and configure nothing
OTHER: Final = "other"  # may do everything, too
FEDORA_VHOST: Final = "/public_pubsub"
PASSWORD: Final = "for-tests"  # noqa: S105 - of a node that lives as long as the tests


@dataclass
class Broker:
    """A node: two processes (port mapper and broker) and a folder.

    `tls` are lines of its configuration by which it speaks TLS, too, on `tls_port`.
    """

    folder: Path
    tls: Mapping[str, object] = field(default_factory=dict)
    port: int = 0
    tls_port: int = 0
    _epmd: subprocess.Popen[bytes] | None = None
    _server: subprocess.Popen[bytes] | None = None
    _environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The AMQP URL of the account that may do everything."""
        return self.url_of(USER)

    def tls_url_of(self, account: str, vhost: str = "%2F", host: str = "127.0.0.1") -> str:
        """Return the `amqps` URL of `user:password`, or of a user alone."""
        return f"amqps://{account}@{host}:{self.tls_port}/{vhost}"

    def url_of(self, user: str, password: str = PASSWORD) -> str:
        """Return the AMQP URL of an account."""
        return f"amqp://{user}:{password}@127.0.0.1:{self.port}/%2F"

    def start(self) -> None:
        """Start what is not running, and wait until the broker takes connections."""
        if self._environment:
            self._start()
        else:
            self._start_anew(_TRIES)

    def _start_anew(self, tries: int) -> None:
        """Start on ports that are free now; one that another process has taken meanwhile costs a try."""
        self._configure()
        try:
            self._start()
        except RuntimeError:
            self._end_all()
            if tries == 1:
                raise
            self._start_anew(tries - 1)

    def _start(self) -> None:
        if self._epmd is None:
            self._epmd = self._run(_epmd_program())
        if self._server is None:
            self._server = self._run("/usr/lib/rabbitmq/bin/rabbitmq-server")
            self._wait()

    def kill(self) -> None:
        """End the broker as a power cut would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop the broker's processes without closing a connection: a broker that hangs."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused broker go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End both processes and remove the folder."""
        self.resume()
        self._end_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self) -> pika.BlockingConnection:
        """Return a connection of an independent client."""
        return pika.BlockingConnection(pika.URLParameters(self.url + "?connection_attempts=1&socket_timeout=5"))

    def _configure(self) -> None:
        # No port a connection of somebody's may get while the broker is down: it starts again on the same ones.
        chosen = ports.choose(("amqp", "amqps", "epmd", "distribution"))
        self.port, self.tls_port = chosen["amqp"], chosen["amqps"]
        definitions = self.folder / "definitions.json"
        definitions.write_text(json.dumps(_definitions()))
        lines = {
            "listeners.tcp.default": f"127.0.0.1:{self.port}",
            "load_definitions": definitions,
            "log.console.level": "warning",
            **({"listeners.ssl.default": f"127.0.0.1:{self.tls_port}", **self.tls} if self.tls else {}),
        }
        config = self.folder / "rabbitmq.conf"
        config.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))
        plugins = "rabbitmq_auth_mechanism_ssl" if self.tls else ""
        (self.folder / "enabled_plugins").write_text(f"[{plugins}].\n")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(chosen["epmd"]),
            "RABBITMQ_NODENAME": "tests@localhost",
            "RABBITMQ_DIST_PORT": str(chosen["distribution"]),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_CONFIG_FILES": str(self.folder / "conf.d"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
        }

    def _run(self, program: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [program],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._server and self._server.poll() is None:
            # It listens before it answers.
            with contextlib.suppress(*_NOT_YET):
                self.connect().close()
                return
            time.sleep(0.05)
        msg = f"RabbitMQ did not start:\n{(self.folder / 'log').read_text()[-2000:]}"
        raise RuntimeError(msg)

    def _signal(self, number: int) -> None:
        if self._server is not None:
            for process in _family(self._server.pid):
                # The broker runs short-lived helpers (df): one may be gone already.
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    def _end_all(self) -> None:
        self._end(signal.SIGTERM)
        if self._epmd is not None:
            self._epmd.terminate()
            self._epmd.wait(30)
            self._epmd = None

    def _end(self, number: int) -> None:
        if self._server is not None:
            family = _family(self._server.pid)
            self._signal(number)
            self._server.wait(30)
            psutil.wait_procs(family, 30)
            self._server = None


def _family(pid: int) -> list[psutil.Process]:
    try:
        server = psutil.Process(pid)
        return [server, *server.children(recursive=True)]
    except psutil.NoSuchProcess:  # it has ended by itself
        return []


def _epmd_program() -> str:
    return shutil.which("epmd") or str(next(iter(sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd")))))


def _definitions() -> dict[str, object]:
    everything = {"vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
    topics = {"vhost": "/", "exchange": "amq.topic", "write": r"^allowed\.", "read": ".*"}
    return {
        "vhosts": [{"name": "/"}, {"name": FEDORA_VHOST}],
        "users": [{"name": name, "password_hash": _password_hash(), "tags": ""} for name in (USER, OTHER, LIMITED)],
        "permissions": [
            {"user": USER, **everything},
            {"user": USER, **everything, "vhost": FEDORA_VHOST},
            {"user": OTHER, **everything},
            {"user": LIMITED, **everything, "configure": "^$"},
        ],
        "topic_permissions": [{"user": LIMITED, **topics}],
    }


def _password_hash() -> str:
    """RabbitMQ's: four bytes of salt, then SHA-256 of salt and password."""
    salt = os.urandom(4)
    return base64.b64encode(salt + hashlib.sha256(salt + PASSWORD.encode()).digest()).decode()
