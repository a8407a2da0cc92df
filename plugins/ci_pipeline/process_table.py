"""The processes of this machine, each looked at anew."""

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
