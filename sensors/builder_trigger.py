"""Waits until a try of a stage has a builder."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent

from ci_pipeline import settings, store
from ci_pipeline.builders import inventory, turns
from ci_pipeline.errors import BuilderError
from ci_pipeline.store.builder_leases import Ticket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ci_pipeline.builders.inventory import Builder

_POLL_SECONDS: Final = 1.0
# Ansible takes a second to read it, and it may be changed while somebody waits.
_INVENTORY_SECONDS: Final = 60.0


class BuilderTrigger(BaseTrigger):
    """Takes a builder for a try as soon as one is free; what it waits for is in the task's log.

    Args:
        run: the run's row id.
        stage: the stage's name.
        try_number: of the try.
    """

    def __init__(self, *, run: int, stage: str, try_number: int) -> None:
        """Keep for whom to wait."""
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow
        self.ticket = Ticket(run=run, stage=stage, try_number=try_number)
        self._builders: list[Builder] = []
        self._read_at = float("-inf")
        self._told = ""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer needs to make this trigger again."""
        of_try = {"run": self.ticket.run, "stage": self.ticket.stage, "try_number": self.ticket.try_number}
        return f"{type(self).__module__}.{type(self).__qualname__}", of_try

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event once a builder is held, or when there can be none: the task says why then."""
        while await asyncio.to_thread(self._waits):  # noqa: ASYNC110 - the leases are in the database
            await asyncio.sleep(_POLL_SECONDS)
        yield TriggerEvent({})

    def _waits(self) -> bool:
        try:
            if time.monotonic() - self._read_at > _INVENTORY_SECONDS:
                self._builders, self._read_at = inventory.read(settings.current()), time.monotonic()
            ask = partial(turns.ask, settings=settings.current(), builders=self._builders, ticket=self.ticket)
            waits_for = store.transact(ask).waits_for
        except BuilderError:
            return False
        if waits_for != self._told:
            self._told = waits_for
            logging.getLogger(__name__).info("%s", waits_for or "a builder is free")
        return bool(waits_for)
