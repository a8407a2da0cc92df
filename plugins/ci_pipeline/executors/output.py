"""What a stage's playbook prints: for the log, and for why there is no report when there is none."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any, Final

from ci_pipeline.executors.report import MAKE_ROOM, clean

log = logging.getLogger(__name__)

_LONGEST_LINE: Final = 300
_COMPLAINTS: Final = ("fatal: ", "ERROR! ", "[ERROR]")
_FULL_BYTES: Final = 2 << 20


class Output:
    """The playbook's output: it goes into the log, line by line as it comes. The stage's report has the whole of it."""

    def __init__(self) -> None:
        """Nothing was said yet. `unreachable` is why a host could not be reached, if one could not."""
        self._complaint = ""
        self.unreachable = ""

    def __call__(self, event: dict[str, Any]) -> bool:
        """Take one event of ansible-runner; return whether it is to be kept."""
        for line in map(clean, event.get("stdout", "").splitlines()):
            if line.strip():
                log.info("%s", line[:_LONGEST_LINE])
            if line.startswith(_COMPLAINTS):
                self._complaint = line
        if event.get("event") == "runner_on_unreachable":
            self.unreachable = str(event.get("event_data", {}).get("res", {}).get("msg")) or "it does not answer"
        return True

    @property
    def complaint(self) -> str:
        """What the playbook complained of last: the `msg` of a failed task, or Ansible's own error; `""`: nothing."""
        _, _, details = self._complaint.partition("=> ")
        try:
            msg = json.loads(details)["msg"]
        except (ValueError, KeyError, TypeError):
            msg = self._complaint
        return " ".join(str(msg).split())[:_LONGEST_LINE]


def why_no_report(problem: str, complaint: str, workspace: Path) -> str:
    """Return why a stage left no report that counts: a full disk, what its playbook complained of, or `problem`."""
    if "disk is full" in complaint:
        return complaint
    free = shutil.disk_usage(workspace).free
    if free < _FULL_BYTES or "No space left on device" in complaint:
        return (
            f"the disk is full: {workspace} has {free >> 20} MB free; {MAKE_ROOM} (what failed: {complaint or problem})"
        )
    return f"{problem}; its playbook says: {complaint}" if complaint else problem
