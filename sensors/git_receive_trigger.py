"""The trigger behind `GitReceiveSensor`: consumes the bus, writes the ledger, acknowledges, announces and fires."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent
from tenacity import AsyncRetrying, before_sleep_log, retry_if_exception_type, wait_random_exponential

from ci_pipeline import settings
from ci_pipeline.bus.consumer import Batch, Consumer
from ci_pipeline.errors import BusUnreachable
from ci_pipeline.intake import Intake
from ci_pipeline.store.ledger import Received

log = logging.getLogger(__name__)

# With nothing to do, how often to look for messages and changes that an earlier attempt left waiting.
_LOOK_UP_SECONDS: Final = 5.0
_RECONNECT_SECONDS: Final = 5.0


class GitReceiveTrigger(BaseTrigger):
    """Takes up messages until it is time to rotate.

    Args:
        trigger_run_id: the DAG run that listens; announcements point to it.
        rotate_after: seconds to listen.
    """

    def __init__(self, *, trigger_run_id: str, rotate_after: float) -> None:
        """Keep for whom and how long to listen."""
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow
        self.trigger_run_id = trigger_run_id
        self.rotate_after = rotate_after

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer needs to make this trigger again."""
        arguments = {"trigger_run_id": self.trigger_run_id, "rotate_after": self.rotate_after}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Take up messages; yield one event, the number taken up, when it is time to rotate."""
        # Read from the file, not from what an earlier trigger of this process has read.
        current = await asyncio.to_thread(settings.load)
        intake = Intake(current, trigger_run_id=self.trigger_run_id)
        yield TriggerEvent({"messages": await self._listen(current, intake)})

    async def _listen(self, current: settings.Settings, intake: Intake) -> int:
        bus, end, messages = current.bus, time.monotonic() + self.rotate_after, 0
        async with _connected(bus) as consumer:
            async for batch in consumer.batches(max_size=bus.prefetch, max_wait=_LOOK_UP_SECONDS):
                if batch.deliveries:
                    await asyncio.to_thread(intake.record, _received(batch))
                    await consumer.ack(batch)
                    messages += len(batch.deliveries)
                await asyncio.to_thread(intake.catch_up)
                if time.monotonic() >= end:
                    break
        return messages


def _received(batch: Batch) -> list[Received]:
    return [Received(topic=one.topic, message_id=one.message_id, raw=one.raw) for one in batch.deliveries]


@asynccontextmanager
async def _connected(bus: settings.Bus) -> AsyncIterator[Consumer]:
    """Connect, however long the broker is away."""
    consumer = Consumer(bus.url.get_secret_value(), bus.exchange, bus.queue, bus.bindings, bus.prefetch)
    async with AsyncExitStack() as stack:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(BusUnreachable),
            wait=wait_random_exponential(max=_RECONNECT_SECONDS),
            before_sleep=before_sleep_log(log, logging.WARNING),
        ):
            with attempt:
                await stack.enter_async_context(consumer)
        yield consumer
