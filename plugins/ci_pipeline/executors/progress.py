"""How far a long stage is, for its log: what its playbook leaves in the file `progress` of the workspace."""

import logging
from pathlib import Path
from typing import Final

from ci_pipeline.executors.report import clean, open_regular_file

log = logging.getLogger(__name__)

PROGRESS_NAME: Final = "progress"
_LONGEST_LINE: Final = 300


class Progress:
    """Follows the file. `look` is to be called now and then; it never fails."""

    def __init__(self, workspace: Path) -> None:
        """Take the stage's workspace."""
        self._path = workspace / PROGRESS_NAME
        self._told = ""

    def look(self) -> None:
        """Log what the stage says, if it is something new."""
        try:
            with open_regular_file(self._path) as file:
                line = clean(file.read(4 * _LONGEST_LINE).decode("utf-8", errors="replace")).strip()[:_LONGEST_LINE]
        except OSError:
            return
        if line and line != self._told:
            self._told = line
            log.info("%s", line)
