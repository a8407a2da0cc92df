"""What every executor of stages has in common."""

from pathlib import Path
from typing import Any, Protocol

from ci_pipeline.executors.report import Report

Request = dict[str, Any]


class Executor(Protocol):
    """Runs the playbook of a stage somewhere and brings its report back."""

    def run(self, request: Request, *, workspace: Path) -> Report:
        """Carry the stage out and wait for its end.

        Args:
            request: the JSON object of docs/stage-contract.md; `stage` names the playbook.
            workspace: an existing folder of this try; logs and the report are kept there.

        Raises:
            StageEnded: it was cancelled, or ran into its time limit.
            ExecutorError: the stage could not be carried out or left no report that can be trusted.
        """

    def cancel(self) -> None:
        """End what `run` started, from another thread or a signal handler. `run` then returns or raises."""
