"""Waits a while before a stage is looked at again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class LookAgainTrigger(BaseTrigger):
    """Waits some seconds. Airflow's own trigger for it writes a line a second into the log of the task.

    Args:
        seconds: how long.
    """

    def __init__(self, *, seconds: float) -> None:
        """Keep how long to wait."""
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer needs to make this trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the time is over."""
        await asyncio.sleep(self.seconds)
        yield TriggerEvent({})
