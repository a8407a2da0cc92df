"""Waits until a lease is free."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from ci_pipeline import store
from ci_pipeline.store import leases

_POLL_SECONDS = 1.0


class LeaseTrigger(BaseTrigger):
    """Takes a lease for a run as soon as it is free.

    Args:
        name: the name of the lease.
        run: the run's row id.
    """

    def __init__(self, *, name: str, run: int) -> None:
        """Keep which lease to wait for, and for whom."""
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow
        self.name = name
        self.run_row = run

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer needs to make this trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"name": self.name, "run": self.run_row}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event once the lease is held."""
        while not await asyncio.to_thread(self._acquire):  # noqa: ASYNC110 - the lease is in the database
            await asyncio.sleep(_POLL_SECONDS)
        yield TriggerEvent({})

    def _acquire(self) -> bool:
        holder = store.transact(partial(leases.acquire, name=self.name, run=self.run_row))
        return holder is None
