"""A connection to the broker, with one channel on it, for coroutines: what pika tells by callbacks can be awaited.

Why pika, which knows nothing of coroutines, and none of the clients that do: it takes a quarter of their CPU for each
message, for it makes no task of it. And fedora-messaging needs it in any case.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final, Self

from pika import ConnectionParameters
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.utils import connection_workflow as workflow
from pika.channel import Channel
from pika.exceptions import AMQPConnectionError, AMQPError, ConnectionWrongStateError
from pika.spec import Basic, BasicProperties

CLOSE_SECONDS: Final = 1.0


class NoQueueError(AMQPError):  # type: ignore[misc]  # pika has no types
    """No queue takes a message that is to be taken by one."""


class NotTakenError(AMQPError):  # type: ignore[misc]  # pika has no types
    """The broker has a message and can do nothing with it now: a queue or the disk is full."""


class Link:
    """An open connection and its channel, until the first of both ends: `await Link.open(...)`, then `close`.

    It belongs to one event loop, and pika works on it only while that runs.

    Attributes:
        channel: pika's; what it does without an answer is called there.
        error: what ended it; None: nothing yet.
    """

    channel: Channel

    def __init__(self, at_end: Callable[[], object] = lambda: None) -> None:
        """Prepare a connection; `at_end` is called once it, or its channel, has ended."""
        self.error: BaseException | None = None
        self._at_end = at_end
        self._loop = asyncio.get_running_loop()
        self._gone = self._loop.create_future()
        self._asked: set[asyncio.Future[Any]] = set()
        self._connection: AsyncioConnection | None = None
        self._published = 0
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}
        self._returned = ""

    @classmethod
    async def open(
        cls, parameters: ConnectionParameters, seconds: float, at_end: Callable[[], object] = lambda: None
    ) -> Self:
        """Connect, and open a channel.

        Args:
            parameters: where to, and as whom.
            seconds: how long that may take.
            at_end: called once the connection, or its channel, has ended.

        Raises:
            OSError, pika.exceptions.AMQPError: it could not, or not in time (TimeoutError).
        """
        link = cls(at_end)
        try:
            async with asyncio.timeout(seconds):
                await link._connect(parameters)
        except BaseException:
            await link.close()
            raise
        return link

    async def ask(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method of the channel that the broker answers; return the method of its answer.

        Raises:
            pika.exceptions.AMQPError: the channel or the connection ended over it, or before.
        """
        answer = self._future()
        method(*args, callback=_setter(answer), **kwargs)
        return (await answer).method

    async def confirm(self) -> None:
        """Have the broker confirm what is published from now on.

        Raises:
            pika.exceptions.AMQPError: as of `ask`.
        """
        self.channel.add_on_return_callback(self._note_return)
        await self.ask(self.channel.confirm_delivery, self._settle)

    def publish(
        self, exchange: str, topic: str, body: bytes, properties: BasicProperties, *, mandatory: bool = False
    ) -> asyncio.Future[None]:
        """Send a message; what is returned is done when the broker has confirmed it.

        One that is mandatory is to be the only one under way: the broker tells of it before it confirms it.

        Raises:
            pika.exceptions.AMQPError: at once if the channel is closed. By what is returned: `NoQueueError`,
                `NotTakenError`, or what ended the channel or the connection.
        """
        self._returned = ""
        self.channel.basic_publish(exchange, topic, body, properties, mandatory=mandatory)
        self._published += 1
        confirmed: asyncio.Future[None] = self._future()
        self._unconfirmed[self._published] = confirmed
        return confirmed

    async def close(self) -> None:
        """Close the connection. Never fails, and takes `CLOSE_SECONDS`, or a little more, if nobody answers."""
        connection = self._connection
        if connection is None or self._gone.done():
            return
        with contextlib.suppress(ConnectionWrongStateError):
            connection.close()
        await asyncio.wait([self._gone], timeout=CLOSE_SECONDS)
        if not self._gone.done():
            # pika would wait for the broker's farewell for ever.
            connection._adapter_disconnect_stream()  # noqa: SLF001 - nothing public lets go of the socket
            await asyncio.wait([self._gone], timeout=CLOSE_SECONDS)

    async def _connect(self, parameters: ConnectionParameters) -> None:
        opened = self._future()
        self._connection = AsyncioConnection(parameters, _setter(opened), self._end_all, self._end_all)
        await opened
        opened = self._future()
        self.channel = self._connection.channel(on_open_callback=_setter(opened))
        self.channel.add_on_close_callback(lambda _, error: self._end(error))
        await opened

    def _future(self) -> asyncio.Future[Any]:
        """Return what fails if the connection or the channel ends before it is done."""
        made: asyncio.Future[Any] = self._loop.create_future()
        if self.error is not None:
            made.set_exception(self.error)
        else:
            self._asked.add(made)
            made.add_done_callback(self._asked.discard)
        return made

    def _end_all(self, _connection: object, error: BaseException) -> None:
        self._end(error)
        if not self._gone.done():
            self._gone.set_result(None)

    def _end(self, error: BaseException) -> None:
        if self.error is not None:
            return
        self.error = _innermost(error)
        for waiting in list(self._asked):
            if not waiting.done():
                waiting.set_exception(self.error)
        self._unconfirmed.clear()
        self._at_end()

    def _note_return(self, _channel: object, method: Basic.Return, _properties: object, _body: bytes) -> None:
        self._returned = method.reply_text or "returned"

    def _settle(self, frame: Any) -> None:
        """Take in what the broker says of one message, or of all up to one."""
        said = frame.method
        tags = [tag for tag in self._unconfirmed if tag <= said.delivery_tag] if said.multiple else [said.delivery_tag]
        for tag in tags:
            self._answer(self._unconfirmed.pop(tag, None), taken=isinstance(said, Basic.Ack))

    def _answer(self, confirmed: asyncio.Future[None] | None, *, taken: bool) -> None:
        if confirmed is None or confirmed.done():
            return
        if not taken:
            confirmed.set_exception(NotTakenError("it has no room for the message"))
        elif self._returned:
            confirmed.set_exception(NoQueueError(self._returned))
        else:
            confirmed.set_result(None)


def _setter(future: asyncio.Future[Any]) -> Callable[[Any], None]:
    """Return a callback that sets what a future is waiting for, unless nobody waits any more."""

    def told(answer: Any) -> None:
        if not future.done():
            future.set_result(answer)

    return told


def _innermost(error: BaseException) -> BaseException:
    """Return what went wrong in one of the steps by which pika connects."""
    while True:
        if isinstance(error, workflow.AMQPConnectionWorkflowFailed):
            error = error.exceptions[-1]
        elif isinstance(error, workflow.AMQPConnectorPhaseErrorBase):
            error = error.exception
        elif type(error) is AMQPConnectionError and error.args and isinstance(error.args[0], BaseException):
            error = error.args[0]
        else:
            return error
