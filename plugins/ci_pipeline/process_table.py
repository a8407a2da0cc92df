"""The processes of this machine, each looked at anew."""

import contextlib
import os
import signal
from collections.abc import Iterator

import psutil


def everyone() -> Iterator[psutil.Process]:
    """Yield the processes that run now, in the order of their numbers.

    psutil's own `process_iter` keeps what it has seen. Of a number that went to another process meanwhile it yields the
    one that is gone, and that one can be neither asked for its children nor ended.
    """
    for pid in psutil.pids():
        try:
            process = psutil.Process(pid)
        except psutil.NoSuchProcess:
            continue
        yield process


def end(process: psutil.Process) -> bool:
    """Kill a process, its descendants, and its process group when it leads one. Tell whether it was there."""
    try:
        family = [process, *process.children(recursive=True)]
        leads = os.getpgid(process.pid) == process.pid
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    # The group first: with its leader gone, its number could be another's.
    if leads and process.is_running():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    return True
