"""Deliver results to a datahub downstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from ci_pipeline import settings, sinks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class DeliverOperator(BaseOperator):
    """Delivers what is due to one sink. Red when the sink did not take something that was due.

    Args:
        sink: its name under [[sinks]].
    """

    template_fields: Sequence[str] = ("sink",)
    ui_color = "#f1f3f4"

    def __init__(self, *, sink: str, **kwargs: Any) -> None:
        """Take the name of the sink."""
        super().__init__(**kwargs)
        self.sink = sink

    def execute(self, context: Context) -> dict[str, int]:
        """Deliver; the counts are the task's XCom."""
        done = sinks.deliver(settings.current(), self.sink)
        self.log.info("%s", done.summary)
        if done.problem:
            msg = f"{done.summary}; it is tried again, and nothing is lost"
            raise AirflowException(msg)
        return {"delivered": done.delivered, "parked": done.parked, "waiting": done.waiting}
