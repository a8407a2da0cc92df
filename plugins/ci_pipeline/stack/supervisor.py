"""The process manager: supervisord, its configuration and its RPC."""

import os
import pwd
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import Faults, SupervisorTransport

from ci_pipeline.errors import StackError
from ci_pipeline.stack import environment
from ci_pipeline.stack.components import Program
from ci_pipeline.stack.layout import Layout, write_private
from ci_pipeline.stack.processes import COMPONENT

_DEAD: Final = frozenset({"FATAL", "EXITED", "STOPPED", "UNKNOWN"})
_START_SECONDS: Final = 15
_DAEMON: Final = Path(__file__).with_name("daemon.py")


@dataclass(frozen=True)
class ProcessInfo:
    """What supervisord knows of a program.

    Attributes:
        state: STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL or UNKNOWN.
        pid: 0 when there is no process.
        uptime: seconds; 0 when there is no process.
        started_at: Unix time of its newest start; 0 if there was none.
        problem: why it could not be started; "" if nothing is known.
    """

    name: str
    state: str
    pid: int
    uptime: int
    started_at: int
    problem: str

    @property
    def is_dead(self) -> bool:
        """Whether nothing runs and nothing will without help."""
        return self.state in _DEAD


class Supervisor:
    """The supervisord of one stack."""

    def __init__(self, layout: Layout) -> None:
        """Address the supervisord of a state folder, running or not."""
        self._layout = layout

    def is_running(self) -> bool:
        """Tell whether it answers."""
        try:
            self._call("getState")
        except (OSError, HTTPException):
            return False
        return True

    def start(self, config: str) -> None:
        """Start supervisord, with no program yet.

        Raises:
            StackError: it does not answer in time.
        """
        write_private(self._layout.supervisor_config, config)
        log = self._layout.log_of("supervisord-start")
        with log.open("w") as output:
            subprocess.run(  # noqa: S603
                # By path, not as part of the package: importing that would cost 60 MB as long as the stack runs.
                [sys.executable, "-P", str(_DAEMON), str(self._layout.supervisor_config)],
                env=environment.of_process_manager(self._layout),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
                cwd=self._layout.state,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self.is_running():
            if time.monotonic() > deadline:
                msg = f"the process manager did not start; see {log}"
                raise StackError(msg)
            time.sleep(0.05)

    def processes(self) -> dict[str, ProcessInfo]:
        """Return every program by its name."""
        return {str(raw["name"]): _info(raw) for raw in self._call("getAllProcessInfo")}

    def start_program(self, name: str) -> None:
        """Start a program without waiting for it."""
        self._tolerating(Faults.ALREADY_STARTED, "startProcess", name)

    def stop_programs(self, names: Iterable[str], seconds: float) -> None:
        """Stop programs side by side and wait for all of them."""
        waiting = set(names)
        for name in waiting:
            self._tolerating(Faults.NOT_RUNNING, "stopProcess", name)
        deadline = time.monotonic() + seconds
        while waiting and time.monotonic() < deadline:
            states = self.processes()
            waiting = {name for name in waiting if name in states and not states[name].is_dead}
            time.sleep(0.05)

    def shutdown(self) -> None:
        """Ask supervisord to end."""
        self._call("shutdown")

    def pid(self) -> int:
        """Return supervisord's own pid."""
        return int(self._call("getPID"))

    def _call(self, method: str, *arguments: object) -> Any:
        # A new connection per call: the transport does not survive a restart of the server.
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._layout.supervisor_socket}")
        try:
            server = ServerProxy("http://127.0.0.1", transport=transport, allow_none=True)
            return getattr(server.supervisor, method)(*arguments)
        finally:
            transport.close()

    def _tolerating(self, fault: int, method: str, name: str) -> None:
        try:
            self._call(method, name, False)  # noqa: FBT003 - the RPC takes "wait" by position
        except Fault as error:
            if error.faultCode != fault:
                msg = f"the process manager cannot {method} {name}: {error.faultString}"
                raise StackError(msg) from error


def config(layout: Layout, programs: Iterable[Program]) -> str:
    """Return the text of supervisord.conf."""
    sections = {
        "unix_http_server": {"file": str(layout.supervisor_socket), "chmod": "0700"},
        "supervisord": {
            "logfile": str(layout.log_of("supervisord")),
            "logfile_maxbytes": "5MB",
            "logfile_backups": "2",
            "pidfile": str(layout.state / "supervisord.pid"),
            "childlogdir": str(layout.logs),
            "nocleanup": "true",
            # In the foreground it would say everything twice.
            "silent": "true",
            "umask": "022",
            # As whom it runs already; unsaid, it warns about root in every log.
            "user": pwd.getpwuid(os.geteuid()).pw_name,
        },
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
        **{f"program:{program.name}": _section(layout, program) for program in programs},
    }
    return "\n".join(f"[{name}]\n{_lines(options)}" for name, options in sections.items())


def _section(layout: Layout, program: Program) -> dict[str, str]:
    variables = {COMPONENT: program.name, **program.environment}
    return {
        "command": " ".join(f'"{word}"' for word in program.command).replace("%", "%%"),
        "directory": program.folder,
        "environment": ",".join(f'{key}="{value}"' for key, value in variables.items()).replace("%", "%%"),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": str(program.start_seconds),
        # Each a second later than the one before: half an hour without its database does not end a component for good.
        "startretries": "60",
        "stopsignal": program.stop_signal,
        "stopwaitsecs": str(program.stop_seconds),
        "stopasgroup": str(program.signal_group).lower(),
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": str(layout.log_of(program.name)),
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": "2",
    }


def _lines(options: Mapping[str, str]) -> str:
    return "".join(f"{key} = {value}\n" for key, value in options.items())


def _info(raw: Mapping[str, Any]) -> ProcessInfo:
    alive = bool(raw["pid"])
    return ProcessInfo(
        name=str(raw["name"]),
        state=str(raw["statename"]),
        pid=int(raw["pid"]),
        uptime=int(raw["now"]) - int(raw["start"]) if alive else 0,
        started_at=int(raw["start"]),
        problem=str(raw["spawnerr"]),
    )
