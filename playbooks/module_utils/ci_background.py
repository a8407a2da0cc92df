"""A program that runs by itself, in a folder of its own: whoever starts it may end before it does.

The folder has `pid` (number and start of its process, as ci_process has them), its log, and once it has ended `code`
(exit code, and the seconds since the kernel booted).
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_process import end_group, start_ticks
from ansible.module_utils.ci_stage import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# Its own name is the folder, which tells whoever looks at the processes what it belongs to.
_KEEPER: Final = """
echo "$$ $(cut -d' ' -f22 /proc/$$/stat)" > pid
log=$1
shift
"$@" > "$log" 2>&1 < /dev/null
echo "$? $(cut -d' ' -f1 /proc/uptime)" > code.new
mv code.new code
"""
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05


class Background:
    """The folder of a program, and what is known of it.

    Attributes:
        folder: there once the program was started.
        log: what it prints.
    """

    def __init__(self, folder: Path, log: str) -> None:
        """Take the folder, and the log's name."""
        self.folder = folder
        self.log = folder / log
        self._code = folder / "code"
        self._keeper: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str], given: Mapping[str, str]) -> None:
        """Start a command in a session of its own, in its folder, with these variables besides this process's.

        Raises InfrastructureError when it does not start.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, f"@{self.folder}", self.log.name, *command],
            cwd=self.folder,
            env=os.environ | dict(given),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + _START_SECONDS
        while not self._process:
            if time.monotonic() > end:
                raise InfrastructureError(f"{command[0]} cannot be started")
            time.sleep(_POLL_SECONDS)

    def is_running(self) -> bool:
        """Tell whether it runs."""
        if self._keeper:
            # What this process has started and not asked for since is there, even when it has ended.
            self._keeper.poll()
        pid, started = self._process or (0, 0)
        return pid != 0 and start_ticks(pid) == started

    def stop(self) -> None:
        """End it with all it started, if it runs."""
        if self._process:
            end_group(*self._process)

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs, or when it was killed."""
        numbers = _numbers(self._code)
        return int(numbers[0]) if numbers else None

    @property
    def seconds(self) -> float:
        """The wall time since it was started, until it ended."""
        numbers, process = _numbers(self._code), self._process
        now = numbers[1] if numbers else time.clock_gettime(time.CLOCK_BOOTTIME)
        return max(0.0, now - process[1] / _TICKS) if process else 0.0

    @property
    def _process(self) -> tuple[int, int] | None:
        numbers = _numbers(self.folder / "pid")
        return (int(numbers[0]), int(numbers[1])) if numbers else None


def _numbers(path: Path) -> tuple[float, float] | None:
    try:
        first, second = path.read_text(encoding="ascii").split()
        return float(first), float(second)
    except (OSError, ValueError):
        return None
