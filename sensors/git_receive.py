"""The sensor that fires a pipeline run for every change that is pushed to dist-git."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator

from sensors.git_receive_trigger import GitReceiveTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

_HOUR = 3600.0


class GitReceiveSensor(BaseSensorOperator):
    """Listens to the bus, always: it belongs into a `@continuous` DAG with `max_active_runs=1`.

    The work is done by its trigger, in the triggerer: no worker slot is held. Every `rotate_after` seconds the
    trigger ends and the next run of the DAG takes over, with settings and code read anew.

    Args:
        rotate_after: seconds one run listens.
    """

    def __init__(self, *, rotate_after: float = _HOUR, **kwargs: Any) -> None:
        """Take how long one run listens."""
        super().__init__(**kwargs)
        self.rotate_after = rotate_after

    def execute(self, context: Context) -> None:
        """Hand over to the trigger."""
        trigger = GitReceiveTrigger(trigger_run_id=context["dag_run"].run_id, rotate_after=self.rotate_after)
        self.defer(trigger=trigger, method_name="rotate")

    def rotate(self, context: Context, event: dict[str, Any]) -> None:
        """End this run: the DAG starts the next one at once."""
        self.log.info("listened for %s s and took up %s messages", self.rotate_after, event["messages"])
