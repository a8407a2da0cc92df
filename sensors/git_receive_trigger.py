"""The trigger behind `GitReceiveSensor`: consumes the bus, writes the ledger, acknowledges, announces and fires."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from ci_pipeline import catch_up, rules, settings
from ci_pipeline.bus.consumer import Batch, Consumer
from ci_pipeline.errors import BusUnreachable, CiPipelineError, DatabaseUnreachable
from ci_pipeline.intake import Intake
from ci_pipeline.patience import say_why
from ci_pipeline.sections import Bus
from ci_pipeline.store.ledger import Received
from sensors.follow_up import FollowUp

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
        missed = _Missed(current, self.trigger_run_id)
        messages = await self._listen(current.bus, intake, missed)
        await missed.looked_for()
        yield TriggerEvent({"messages": messages})

    async def _listen(self, bus: Bus, intake: Intake, missed: "_Missed") -> int:
        end, messages = time.monotonic() + self.rotate_after, 0
        # While a batch is written the broker sends the next one.
        at_most = max(1, bus.prefetch // 2)
        async with FollowUp(intake) as follow_up, _connected(bus) as consumer:
            missed.connected(consumer.backlog)
            async for batch in consumer.batches(max_size=at_most, max_wait=_LOOK_UP_SECONDS):
                if batch.reconnected:
                    missed.connected(consumer.backlog)
                queued = await _record(intake, batch, bus.senders) if batch.deliveries else []
                await consumer.ack(batch)
                messages += len(batch.deliveries)
                missed.look_after(len(batch.deliveries))
                more_wait = len(batch.deliveries) == at_most or (batch.deliveries and missed.backlog > 0)
                follow_up.look(queued, at_leisure=not more_wait)
                if time.monotonic() >= end:
                    break
        return messages


class _Missed:
    """Pushes nobody heard of are looked for, beside the listening, once per connection to the bus.

    Not before the messages that waited in our queue are taken up: they may be older than dist-git's heads, and must
    not seem newer because they come later.

    Attributes:
        backlog: how many of those are left; 0 or less: none.
    """

    def __init__(self, current: settings.Settings, trigger_run_id: str) -> None:
        self._settings = current
        self._trigger_run_id = trigger_run_id
        self._due = False
        self.backlog = 0
        self._looking: asyncio.Task[None] | None = None

    def connected(self, backlog: int) -> None:
        """Begin anew: so many messages wait."""
        self._due, self.backlog = self._settings.dist_git.catch_up, backlog

    def look_after(self, messages: int) -> None:
        """Look, if with these messages the backlog is taken up."""
        self.backlog -= messages
        if self._due and self.backlog <= 0 and (self._looking is None or self._looking.done()):
            self._due = False
            self._looking = asyncio.create_task(asyncio.to_thread(self._look))

    async def looked_for(self) -> None:
        """Wait until nothing is being looked for."""
        if self._looking is not None:
            await self._looking

    def _look(self) -> None:
        try:
            found = catch_up.catch_up(self._settings, trigger_run_id=self._trigger_run_id)
        except CiPipelineError as error:
            log.warning("pushes nobody heard of cannot be looked for: %s", error)
            return
        log.info("dist-git's heads: %s", found.summary)
        for problem in found.problems:
            log.warning("not looked at: %s", problem)


async def _record(intake: Intake, batch: Batch, senders: Sequence[str]) -> list[int]:
    """Write a batch, however long the database is away: unacknowledged, its messages are safe with the broker.

    Returns:
        The runs that were queued.
    """
    queued: list[int] = []
    async for attempt in _patiently(DatabaseUnreachable):
        with attempt:
            queued = await asyncio.to_thread(intake.record, _received(batch, senders))
    return queued


def _received(batch: Batch, senders: Sequence[str]) -> list[Received]:
    return [
        Received(one.topic, one.message_id, one.raw, ignore_reason=rules.untrusted(one.user_id, senders))
        for one in batch.deliveries
    ]


@asynccontextmanager
async def _connected(bus: Bus) -> AsyncIterator[Consumer]:
    """Connect, however long the broker is away."""
    url = bus.url.get_secret_value()
    consumer = Consumer(url, bus.exchange, bus.queue, bus.bindings, bus.prefetch, files=bus.files)
    async with AsyncExitStack() as stack:
        async for attempt in _patiently(BusUnreachable):
            with attempt:
                await stack.enter_async_context(consumer)
        yield consumer


def _patiently(away: type[CiPipelineError]) -> AsyncRetrying:
    return AsyncRetrying(
        retry=retry_if_exception_type(away),
        wait=wait_random_exponential(multiplier=0.2, max=_RECONNECT_SECONDS),
        before_sleep=say_why(log),
    )
