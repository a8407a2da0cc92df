"""Consuming in batches, from a coroutine: the trigger of the git-receive sensor.

Messages are acknowledged by whoever has made them durable, a batch at a time. Whatever is lost on the way there (the
connection, the broker, this process) is delivered again: at least once, never not at all.

A batch belongs to the connection it came on, and acknowledging it on a later one does nothing, so that it cannot
acknowledge a message of the new connection that happens to have the same delivery tag.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from pika.spec import Basic, BasicProperties
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from ci_pipeline.bus.connection import FAILURES, parameters, place, unreachable
from ci_pipeline.bus.link import Link
from ci_pipeline.bus.properties import text
from ci_pipeline.bus.tls import TlsFiles
from ci_pipeline.bus.topology import declare_on
from ci_pipeline.errors import BusUnreachable
from ci_pipeline.patience import say_why

CONNECT_SECONDS: Final = 15.0
RETRY_SECONDS_MAX: Final = 10.0
_NO_FILES: Final = TlsFiles()

_log = logging.getLogger(__name__)


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


# What the inbox holds: messages, and None once the connection is gone.
_Inbox = asyncio.Queue[Delivery | None]


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages in the order they came; empty when none came in time, or the connection was lost.

    `reconnected`: the connection was lost before this batch; messages may have been sent while it was.
    """

    deliveries: Sequence[Delivery] = ()
    reconnected: bool = False
    _link: Link | None = field(default=None, repr=False, compare=False)


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
        self._link: Link | None = None
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
                yield Batch((first, *self._waiting(max_size - 1)), _link=self._link)

    async def ack(self, batch: Batch) -> None:
        """Acknowledge a batch and all before it. If its connection is lost nothing happens: the batch comes again."""
        link = batch._link  # noqa: SLF001 - a batch is ours; on which connection it came is nobody else's business
        if link is None:
            return
        try:
            link.channel.basic_ack(batch.deliveries[-1].delivery_tag, multiple=True)
        except FAILURES as error:
            _log.info("%d messages could not be acknowledged and come again: %s", len(batch.deliveries), error)

    def _waiting(self, at_most: int) -> list[Delivery]:
        """Take what has arrived already, up to the end of the connection."""
        messages: list[Delivery] = []
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
        inbox: _Inbox = asyncio.Queue()  # a new one per connection: what waits in the old one comes again
        try:
            where = parameters(self._url, self._files)
            self._link = await Link.open(where, CONNECT_SECONDS, at_end=lambda: inbox.put_nowait(None))
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._consume(self._link, inbox)
        except FAILURES as error:
            await self._close()
            raise unreachable(error, self._url) from error
        self._inbox = inbox

    async def _consume(self, link: Link, inbox: _Inbox) -> None:
        channel = link.channel
        channel.add_on_cancel_callback(lambda _: inbox.put_nowait(None))
        await link.ask(channel.basic_qos, prefetch_count=self._prefetch)
        self.backlog = await declare_on(link, self._exchange, self._queue, self._bindings)

        def arrived(_channel: object, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
            inbox.put_nowait(_delivery(method, properties, body))

        await link.ask(channel.basic_consume, self._queue, arrived)

    async def _close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()


def _delivery(method: Basic.Deliver, properties: BasicProperties, body: bytes) -> Delivery:
    return Delivery(
        topic=text(method.routing_key),
        message_id=text(properties.message_id),
        headers=properties.headers or {},
        raw=body,
        delivery_tag=method.delivery_tag or 0,
        user_id=text(properties.user_id),
    )
