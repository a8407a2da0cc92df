"""How far a suite is: read from its log as it grows, left in a file for whoever follows the stage.

Kubernetes' e2e.test says it in JSON after each spec: {"msg": "PASSED ...", "total": 22, "completed": 1, "failed": 0}.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_stage import clean

if TYPE_CHECKING:
    from pathlib import Path

# Below the workspace; the executor shows what is in it.
PROGRESS_NAME: Final = "progress"
_AT_ONCE: Final = 1 << 20
_LONGEST_LINE: Final = 1 << 12
_SAID: Final = re.compile(rb'\{"msg":.*\}')


class Progress:
    """Follows a log. `look` is to be called now and then."""

    def __init__(self, log: Path, told: Path) -> None:
        """Take the log, and the file that tells how far the suite is."""
        self._log, self._told = log, told
        self._read = 0
        self._rest = b""

    def look(self) -> None:
        """Read what the log has got since the last look, and tell the newest state if there is one."""
        with self._log.open("rb") as file:
            file.seek(self._read)
            lines = (self._rest + file.read(_AT_ONCE)).split(b"\n")
            self._read = file.tell()
        self._rest = lines.pop()[-_LONGEST_LINE:]
        states = [state for line in lines if (state := _state(line))]
        if states:
            scratch = self._told.with_suffix(".new")
            scratch.write_text(states[-1] + "\n", encoding="utf-8")
            scratch.replace(self._told)


def _state(line: bytes) -> str:
    """Return what a line says of the suite: `3 of 22 specs, 1 failed: PASSED [sig-apps] ...`; "" for any other line.

    `completed` counts those that passed alone.
    """
    found = _SAID.search(line[-_LONGEST_LINE:])
    try:
        said = json.loads(found.group()) if found else {}
        passed, total, failed = (int(said[key]) for key in ("completed", "total", "failed"))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return ""
    return clean(f"{passed + failed} of {total} specs, {failed} failed: {said['msg']}", 300)
