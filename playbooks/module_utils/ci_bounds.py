"""What all that runs in one sandbox may use together, and the sentence for what it used too much of.

Memory and processes are counted by a control group, files by a quota. On a builder where no group can be made, each
process is limited by itself; that is said as a warning.
"""

from __future__ import annotations

import contextlib
import re
import signal
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils import ci_cgroup
from ansible.module_utils.ci_quota import Quota
from ansible.module_utils.common.warnings import warn

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

NO_CGROUP: Final = (
    "memory and processes of package code are limited one by one only: no control group can be made on this builder"
)
# What shells, make and Python say of these signals.
_SAID: Final = {
    signal.SIGXFSZ: re.compile(r"File size limit exceeded|File too large"),
    signal.SIGXCPU: re.compile(r"CPU time limit exceeded"),
}
# A shell's exit code of a signal, and bubblewrap's.
_SIGNALLED: Final = 128


class Bounds:
    """The bounds of one run: made before it, asked after it."""

    def __init__(self, limits: Mapping[str, Any], folders: Iterable[Path], files: Iterable[Path]) -> None:
        """Take the limits of the request, and what the run may write: folders, and files of its output."""
        self._limits = limits
        self._quota = Quota(folders, files, float(limits["disk_mb"]))
        self._group: ci_cgroup.Cgroup | None = None

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """Make the control group for the block, where there can be one; all that is in it ends with the block."""
        with contextlib.ExitStack() as group:
            found = ci_cgroup.find()
            with contextlib.suppress(OSError):
                if found:
                    group.enter_context(found.made(int(self._limits["memory_mb"]), int(self._limits["processes"])))
                    self._group = found
            if not self._group:
                warn(NO_CGROUP)
            yield

    @property
    def are_common(self) -> bool:
        """Whether memory and processes are counted together."""
        return self._group is not None

    def joined_by(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs this one within the bounds, as the same process."""
        return self._group.joined_by(command) if self._group else list(command)

    def watching(self, process: subprocess.Popen[bytes]) -> contextlib.AbstractContextManager[None]:
        """Count the files while the process runs, which is killed when they are too much."""
        return self._quota.watching(process.pid, process.kill)

    def overrun(self, code: int, said: str, cpu_seconds: int) -> str:
        """Return what a command that ended with this code and these words did too much of; `""`: nothing."""
        if code == 0 and not (self._quota.exceeded or self._quota.too_deep):
            return ""
        limits, group = self._limits, self._group
        reasons = {
            f"wrote more than {limits['disk_mb']} MB of files in all (limits.disk_mb)": self._quota.exceeded,
            "nested folders deeper than a path may be long": self._quota.too_deep,
            f"used more than {limits['memory_mb']} MB of memory in all (limits.memory_mb)": group and group.over_memory,
            f"wanted more than {limits['processes']} processes at a time (limits.processes)": group
            and group.over_processes,
            f"wrote a file of more than {limits['disk_mb']} MB (limits.disk_mb)": _says(signal.SIGXFSZ, code, said),
            f"used more than {cpu_seconds} seconds of processor time in a process (limits.seconds)": _says(
                signal.SIGXCPU, code, said
            ),
        }
        return next((reason for reason, holds in reasons.items() if holds), "")

    def starved(self, kills: int) -> bool:
        """Tell whether a process was killed because the builder has no memory; `kills`: how many were, of anyone."""
        return self._group.killed and not self._group.over_memory if self._group else kills > 0


def _says(ended: signal.Signals, code: int, said: str) -> bool:
    return code == _SIGNALLED + ended or bool(_SAID[ended].search(said))
