"""Stop the local stack: every process it started, and nothing else."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ci_pipeline.stack import components, processes
from ci_pipeline.stack.handle import locate, locked
from ci_pipeline.stack.layout import Layout
from ci_pipeline.stack.supervisor import Supervisor

_AIRFLOW_SECONDS: Final = 20
_SERVER_SECONDS: Final = 40


@dataclass(frozen=True)
class DownResult:
    """What `down` did.

    Attributes:
        stopped: components that ran.
        leftovers: processes of the stack that outlived their component and were ended.
        seconds: how long it took.
    """

    stopped: tuple[str, ...]
    leftovers: int
    seconds: float

    @property
    def already_down(self) -> bool:
        """Whether there was nothing to stop."""
        return not self.stopped and not self.leftovers


def down(*, state: Path | None = None) -> DownResult:
    """Stop the stack; data stays. Safe to repeat.

    Raises:
        StackError: a process does not end, or someone else is starting or stopping the stack.
    """
    began = time.monotonic()
    layout = locate(state)
    if not layout.state.is_dir():
        return DownResult(stopped=(), leftovers=0, seconds=0)
    with locked(layout):
        manager = Supervisor(layout)
        stopped = _stop_components(manager) if manager.is_running() else ()
        leftovers = _sweep(layout, manager)
    return DownResult(stopped=stopped, leftovers=leftovers, seconds=time.monotonic() - began)


def _stop_components(manager: Supervisor) -> tuple[str, ...]:
    """Stop Airflow first: it needs the servers to say goodbye."""
    running = [info.name for info in manager.processes().values() if not info.is_dead]
    manager.stop_programs([name for name in running if name in components.AIRFLOW], _AIRFLOW_SECONDS)
    manager.stop_programs([name for name in running if name not in components.AIRFLOW], _SERVER_SECONDS)
    return tuple(name for name in components.ALL if name in running)


def _sweep(layout: Layout, manager: Supervisor) -> int:
    """End what is left, the process manager last: while it lives, it adopts what its children abandon."""
    own = manager.pid() if manager.is_running() else None
    left = [process for process in processes.of_stack(layout.state) if process.pid != own]
    processes.end(left)
    if own is not None:
        manager.shutdown()
    processes.end(processes.of_stack(layout.state))
    layout.supervisor_socket.unlink(missing_ok=True)
    return len(left)
