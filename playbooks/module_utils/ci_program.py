"""A program of the distribution that confines what it runs by itself: mock, rpm-ostree, image-builder, koji.

It is not in our sandbox, which none of them could work in. It gets a few variables of the account, has a limit of time,
and ends with the playbook.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_process import end_with_ancestors
from ansible.module_utils.ci_sandbox import require, tail
from ansible.module_utils.ci_stage import InfrastructureError
from ansible.module_utils.ci_tools import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Of the account: where its configuration is, its Kerberos ticket, and the way out of its network.
_PASSED_ON: Final = ("HOME", "USER", "LOGNAME", "KRB5CCNAME", "http_proxy", "https_proxy", "no_proxy")
_FIXED: Final = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
# It gets this long to put its own rooms away.
_GRACE_SECONDS: Final = 15


@dataclass(frozen=True)
class Ended:
    """How it ended: `code` as subprocess has it, whether its time ran out, and the end of what it said."""

    code: int
    timed_out: bool
    said: str


class Program:
    """A program that was started; what it says is in `log`."""

    def __init__(self, command: Sequence[str | Path], log: Path) -> None:
        """Start it, in a session of its own. Raises InfrastructureError when it is not installed."""
        self.log = log
        program = require(str(command[0]))
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [program, *command[1:]],
                env=environment | _FIXED,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end_with_ancestors(self.stop)

    def wait(self, seconds: float) -> Ended:
        """Wait for its end; after so many seconds it is stopped."""
        timed_out = False
        try:
            with Clock.running():
                self._process.wait(timeout=max(0.0, seconds))
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            self.stop()
        return Ended(self._process.returncode, timed_out, tail(self.log))

    def stop(self) -> None:
        """End it, with all it started that is still ours to end."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_GRACE_SECONDS)


def run(command: Sequence[str | Path], log: Path, seconds: float) -> Ended:
    """Run a program to its end.

    Raises InfrastructureError when it is not installed, or when a signal ended it that was not ours.
    """
    ended = Program(command, log).wait(seconds)
    if ended.code < 0 and not ended.timed_out:
        raise InfrastructureError(f"signal {-ended.code} ended {command[0]}; is the builder out of memory?")
    return ended
