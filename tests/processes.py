"""What the tests ask of processes."""

import contextlib

import psutil


def goes_on(process: psutil.Process) -> bool:
    """Tell whether a process has not ended; one whose parent, not ours, has yet to ask how it ended has.

    By its start, too: a number is soon another process's.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
