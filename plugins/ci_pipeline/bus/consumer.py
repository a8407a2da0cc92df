"""Consuming in batches, from a coroutine: the trigger of the git-receive sensor.

Messages are acknowledged by whoever has made them durable, a batch at a time. Whatever is lost on the way there (the
connection, the broker, this process) is delivered again: at least once, never not at all.

aio-pika's own robust connection is not used: it restores the channel under a batch that is being processed. Here a
batch belongs to the connection it came on, and acknowledging it on a later one does nothing, so that it cannot
acknowledge a message of the new connection that happens to have the same delivery tag.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from aiormq.abc import DeliveredMessage
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from ci_pipeline.bus.connection import FAILURES, connect, place, unreachable
from ci_pipeline.bus.tls import TlsFiles
from ci_pipeline.bus.topology import declare_on
from ci_pipeline.errors import BusUnreachable
from ci_pipeline.patience import say_why

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection

CONNECT_SECONDS: Final = 15.0
CLOSE_SECONDS: Final = 1.0
RETRY_SECONDS_MAX: Final = 10.0
_NO_FILES: Final = TlsFiles()

_log = logging.getLogger(__name__)
# What the inbox holds: messages, and None once the connection is gone.
_Inbox = asyncio.Queue[DeliveredMessage | None]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it came, not yet looked at.

    `user_id` is the account that published it, as the broker has checked it; `""` if the publisher left it out.
    """

    topic: str
    message_id: str
    headers: Mapping[str, Any]
    raw: bytes
    delivery_tag: int
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages in the order they came; empty when none came in time, or the connection was lost.

    `reconnected`: the connection was lost before this batch; messages may have been sent while it was.
    """

    deliveries: Sequence[Delivery] = ()
    reconnected: bool = False
    _last: DeliveredMessage | None = field(default=None, repr=False, compare=False)


class Consumer:
    """A durable queue, read in batches: `async with Consumer(...) as consumer`. It reconnects by itself.

    Attributes:
        backlog: number of messages that waited in the queue when this connection was made.
    """

    def __init__(  # noqa: PLR0913 - where the broker is, what is declared there, and how much it may send
        self,
        url: str,
        exchange: str,
        queue: str,
        bindings: Sequence[str],
        prefetch: int = 200,
        *,
        files: TlsFiles = _NO_FILES,
    ) -> None:
        """Take what `topology.declare` takes, and how many unacknowledged messages the broker may send."""
        self._url = url
        self._files = files
        self._exchange = exchange
        self._queue = queue
        self._bindings = tuple(bindings)
        self._prefetch = prefetch
        self.backlog = 0
        self._connection: AbstractConnection | None = None
        self._inbox: _Inbox = asyncio.Queue()

    async def __aenter__(self) -> Self:
        """Connect once.

        Raises:
            BusUnreachable: the broker is away or refuses us: said at once at the start, waited for later on.
            SettingsError: the URL is not an AMQP URL, or the certificates are not what it needs.
        """
        await self._open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect. What is not acknowledged will be delivered again."""
        await self._close()

    async def batches(self, max_size: int = 100, max_wait: float = 30.0) -> AsyncIterator[Batch]:
        """Yield batches for ever.

        A batch is yielded as soon as there is a message and none more is waiting, or there are `max_size`. When nothing
        comes for `max_wait` seconds, or the connection was lost, an empty batch is yielded, so that the caller can look
        up from time to time.
        """
        while True:
            try:
                async with asyncio.timeout(max_wait):
                    first = await self._inbox.get()
            except TimeoutError:
                yield Batch()
                continue
            if first is None:
                await self._reopen()
                yield Batch(reconnected=True)
            else:
                yield _batch([first, *self._waiting(max_size - 1)])

    async def ack(self, batch: Batch) -> None:
        """Acknowledge a batch and all before it. If its connection is lost nothing happens: the batch comes again."""
        if batch._last is None:  # noqa: SLF001 - a batch is ours; its last message is nobody else's business
            return
        try:
            await batch._last.channel.basic_ack(_tag(batch._last), multiple=True)  # noqa: SLF001 - see above
        except FAILURES as error:
            _log.info("%d messages could not be acknowledged and come again: %s", len(batch.deliveries), error)

    def _waiting(self, at_most: int) -> list[DeliveredMessage]:
        """Take what has arrived already, up to the end of the connection."""
        messages: list[DeliveredMessage] = []
        while len(messages) < at_most and not self._inbox.empty():
            message = self._inbox.get_nowait()
            if message is None:
                self._inbox.put_nowait(None)  # nothing comes after it: it is read next
                break
            messages.append(message)
        return messages

    async def _reopen(self) -> None:
        """Connect again, for as long as it takes."""
        _log.warning("The connection to the broker at %s was lost", place(self._url))
        await self._close()
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(BusUnreachable),
            wait=wait_random_exponential(multiplier=0.2, max=RETRY_SECONDS_MAX),
            before_sleep=say_why(_log),
        ):
            with attempt:
                await self._open()
        _log.info("Connected to the broker at %s again", place(self._url))

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._consume()
        except FAILURES as error:
            await self._close()
            raise unreachable(error, self._url) from error

    async def _consume(self) -> None:
        inbox: _Inbox = asyncio.Queue()  # a new one per connection: what waits in the old one comes again
        self._connection = await connect(self._url, CONNECT_SECONDS, self._files)
        channel = await self._connection.channel(publisher_confirms=False)
        channel.close_callbacks.add(lambda *_: inbox.put_nowait(None))
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda _: inbox.put_nowait(None))
        await channel.set_qos(prefetch_count=self._prefetch)
        queue = await declare_on(channel, self._exchange, self._queue, self._bindings)
        self.backlog = queue.declaration_result.message_count or 0
        # Not by aio-pika's queue: that makes another object and another task of each message.
        await underlay.basic_consume(queue.name, inbox.put)
        self._inbox = inbox

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*FAILURES):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.close()


def _batch(messages: Sequence[DeliveredMessage]) -> Batch:
    return Batch(tuple(_delivery(message) for message in messages), _last=messages[-1])


def _delivery(message: DeliveredMessage) -> Delivery:
    properties = message.header.properties
    return Delivery(
        topic=message.routing_key or "",
        message_id=properties.message_id or "",
        headers=properties.headers or {},
        raw=message.body,
        delivery_tag=_tag(message),
        user_id=properties.user_id or "",
    )


def _tag(message: DeliveredMessage) -> int:
    return message.delivery_tag or 0
