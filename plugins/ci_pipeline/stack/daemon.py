"""Run supervisord in the background as the adoptive parent of everything it starts.

`python -P daemon.py supervisord.conf`. A process whose parent dies (a task after its worker was killed, a
program that daemonizes) becomes a child of the process manager instead of init, so that `down` finds it.
"""

import ctypes
import os
import sys

from supervisor import supervisord

# linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


def main(config: str) -> None:
    """Detach, adopt and supervise; returns at once in the caller's process."""
    if os.fork():
        # Not sys.exit: the parent must not run handlers the child owns.
        os._exit(0)
    os.setsid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    supervisord.main(["--nodaemon", "--configuration", config])


if __name__ == "__main__":
    main(sys.argv[1])
