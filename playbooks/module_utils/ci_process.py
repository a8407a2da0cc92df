"""Processes, known by their number and when they started: a number that went to another process is never taken for it.

The kernel counts the start in ticks since it booted itself: field 22 of /proc/PID/stat.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Positions behind the name, which may itself contain blanks and parentheses.
_PARENT: Final = 1
_GROUP: Final = 2
_START: Final = 19
_GONE_MS: Final = 10_000


def start_ticks(pid: int) -> int:
    """Return when a process started; 0 when there is none of this number."""
    return _stat(pid, _START)


def end(pid: int, started: int, holding: str = "") -> bool:
    """Kill a process and wait until it is gone; return whether it was there.

    It is another one, and left alone, when it started at another time or `holding` is no part of its command line.
    """
    with _handles([pid]) as handles:
        if not handles or not is_running(pid, started, holding):
            return False
        signal.pidfd_send_signal(handles[0], signal.SIGKILL)
        _wait_for(handles)
    return True


def end_group(leader: int, started: int) -> bool:
    """Kill a group of processes and wait until they are gone; return whether its leader was there, as in `end`."""
    with _handles([leader, *_members(leader)]) as handles:
        if not handles or not is_running(leader, started):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)
        _wait_for(handles)
    return True


def end_with_ancestors(first: Callable[[], object] | None = None) -> None:
    """End this process when a process above it ends: the playbook was stopped. `first` is called before.

    An SSH connection that breaks ends sshd's process above a module, so this holds on remote builders, too. The sshd
    above that one may well end: it was restarted.
    """
    watched = select.poll()
    process = os.getppid()
    while process > 1:
        with contextlib.suppress(OSError):
            watched.register(os.pidfd_open(process), select.POLLIN)
        process = 0 if _is_sshd(process) else _stat(process, _PARENT)

    def watch() -> None:
        watched.poll()
        try:
            if first:
                first()
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _is_sshd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").startswith("sshd")
    except OSError:
        return False


def is_running(pid: int, started: int, holding: str = "") -> bool:
    """Return whether a process runs; it is another one as in `end`."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return start_ticks(pid) == started and os.fsencode(holding) in command


def _members(group: int) -> list[int]:
    numbers = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in numbers if pid != group and _stat(pid, _GROUP) == group]


def _stat(pid: int, position: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[position])


@contextlib.contextmanager
def _handles(pids: Iterable[int]) -> Iterator[list[int]]:
    """Open what keeps meaning these processes, of those that are there."""
    with contextlib.ExitStack() as opened:
        handles = []
        for pid in pids:
            with contextlib.suppress(OSError):
                handles.append(os.pidfd_open(pid))
                opened.callback(os.close, handles[-1])
        yield handles


def _wait_for(handles: Iterable[int]) -> None:
    for handle in handles:
        gone = select.poll()
        gone.register(handle, select.POLLIN)
        gone.poll(_GONE_MS)
