"""Waits until a branch's compose lease is free."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from ci_pipeline import store
from ci_pipeline.store import leases

_POLL_SECONDS = 1.0


class ComposeLeaseTrigger(BaseTrigger):
    """Takes the compose lease of a branch for a run as soon as it is free.

    Args:
        branch: the branch.
        run: the run's row id.
    """

    def __init__(self, *, branch: str, run: int) -> None:
        """Keep whose lease to wait for."""
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow
        self.branch = branch
        self.run_row = run

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer needs to make this trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"branch": self.branch, "run": self.run_row}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event once the lease is held."""
        while not await asyncio.to_thread(self._acquire):  # noqa: ASYNC110 - the lease is in the database
            await asyncio.sleep(_POLL_SECONDS)
        yield TriggerEvent({})

    def _acquire(self) -> bool:
        holder = store.transact(partial(leases.acquire, branch=self.branch, run=self.run_row))
        return holder is None
