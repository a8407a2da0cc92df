"""Publishing, from synchronous code: an Airflow task, its callback, the reconciler, the command line.

Why not `fedora_messaging.api.publish`: it runs a Twisted reactor in a thread, which does not survive the fork an
Airflow task starts with; its configuration is one global of the process; and it waits for a broker that is away until a
timeout, where we want to know at once (the outbox keeps the message). So the messages are fedora-messaging's, class,
headers and encoding, and only the transport is ours (`link.py`), whose every step has a deadline. No thread, no global
state.
"""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Final, NamedTuple, Self

import jsonschema
from fedora_messaging.exceptions import ValidationError
from fedora_messaging.message import Message
from pika import BasicProperties, DeliveryMode

from ci_pipeline.bus.connection import FAILURES, is_refusal, not_published, parameters
from ci_pipeline.bus.link import Link
from ci_pipeline.bus.tls import TlsFiles
from ci_pipeline.errors import CiPipelineError, MessageRejected

_NO_FILES: Final = TlsFiles()


class _Encoded(NamedTuple):
    """A message as it goes over the wire."""

    topic: str
    body: bytes
    properties: BasicProperties


class Publisher:
    """A connection to the bus that publishes confirmed messages. One per process and thread; not for coroutines.

    It connects with the first message and again after a loss, so it may be kept while there is something to publish.
    """

    def __init__(self, url: str, exchange: str, timeout: float = 15, *, files: TlsFiles = _NO_FILES) -> None:
        """Take the AMQP URL, the exchange, the seconds that connecting and publishing one message may take.

        And the certificates, for `amqps`.
        """
        self._url = url
        self._files = files
        self._exchange_name = exchange
        self._timeout = timeout
        self._runner = asyncio.Runner()
        self._link: Link | None = None

    def __enter__(self) -> Self:
        """Return itself; nothing is connected yet."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection. Never fails: what was published is confirmed already."""
        if self._link is not None:
            self._runner.run(self._disconnect())
        self._runner.close()

    def publish(self, message: Message, *, mandatory: bool = False) -> None:
        """Publish a message and wait until the broker has it.

        Args:
            message: Any fedora-messaging message.
            mandatory: Refuse a message that no queue takes. An announcement may have no listener: then it is fine.

        Raises:
            BusUnreachable: not known to be published; publish it again later. It may be published twice then.
            MessageRejected: its schema, its topic's permissions, or (`mandatory`) the lack of a queue forbid it.
            SettingsError: the URL is not an AMQP URL, or the certificates are not what it needs.
        """
        try:
            self._runner.run(self._publish(message, mandatory=mandatory))
        except FAILURES as error:
            self._runner.run(self._disconnect())
            raise not_published(error, self._url) from error

    def publish_all(self, messages: Sequence[Message]) -> list[CiPipelineError | None]:
        """Publish messages that need no order among them: all are sent before the first is confirmed.

        What is not confirmed then is published once more by itself, so that its refusal is known to be its own: the
        broker closes a channel over one message, and says of none of those behind it what became of them.

        Returns:
            In their order None for what the broker has, and what `publish` raises for the rest. After the first that
            was not refused nothing more is tried.
        """
        confirmed = self._runner.run(self._send(messages)) if len(messages) > 1 else set()
        answers: list[CiPipelineError | None] = []
        away: CiPipelineError | None = None
        for position, message in enumerate(messages):
            answer = None if position in confirmed else away or self._answer(message)
            away = away or (None if isinstance(answer, MessageRejected) else answer)
            answers.append(answer)
        return answers

    def _answer(self, message: Message) -> CiPipelineError | None:
        try:
            self.publish(message)
        except CiPipelineError as error:
            return error
        return None

    async def _send(self, messages: Sequence[Message]) -> set[int]:
        """Send messages at once; return which of them, by position, were confirmed."""
        confirmed: set[int] = set()
        # Whatever fails here is found out, and said, when the message is published by itself.
        with contextlib.suppress(*FAILURES, CiPipelineError):
            async with asyncio.timeout(self._timeout):
                link = self._link or await self._connect()
                sent = self._sent(link, messages, confirmed)
                await asyncio.gather(*sent, return_exceptions=True)
        if len(confirmed) < len(messages):
            await self._disconnect()
        return confirmed

    def _sent(self, link: Link, messages: Sequence[Message], confirmed: set[int]) -> list[asyncio.Future[None]]:
        """Send messages; return what ends with the broker's word on each. Positions of those it has are added."""
        sent = []
        for position, message in enumerate(messages):
            with contextlib.suppress(*FAILURES):
                future = self._put(link, _encoded(message))
                future.add_done_callback(partial(_note, confirmed, position))
                sent.append(future)
        return sent

    async def _publish(self, message: Message, *, mandatory: bool) -> None:
        encoded = _encoded(message)
        async with asyncio.timeout(self._timeout):
            if not await self._publish_on_kept(encoded, mandatory=mandatory):
                await self._put(await self._connect(), encoded, mandatory=mandatory)

    async def _publish_on_kept(self, encoded: _Encoded, *, mandatory: bool) -> bool:
        """Publish on the connection of an earlier message.

        It may be dead without our knowing: nobody answers heartbeats between two calls. Then return False.
        """
        if self._link is None:
            return False
        try:
            await self._put(self._link, encoded, mandatory=mandatory)
        except FAILURES as error:
            if is_refusal(error):
                raise
            await self._disconnect()
            return False
        return True

    def _put(self, link: Link, encoded: _Encoded, *, mandatory: bool = False) -> asyncio.Future[None]:
        topic, body, properties = encoded
        return link.publish(self._exchange_name, topic, body, properties, mandatory=mandatory)

    async def _connect(self) -> Link:
        self._link = await Link.open(parameters(self._url, self._files), self._timeout)
        await self._link.confirm()
        return self._link

    async def _disconnect(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()


def _note(confirmed: set[int], position: int, future: asyncio.Future[None]) -> None:
    if not future.cancelled() and future.exception() is None:
        confirmed.add(position)


def _encoded(message: Message) -> _Encoded:
    """Return a message as fedora-messaging puts it on the wire.

    Raises:
        fedora_messaging.exceptions.ValidationError: it breaks its schema.
    """
    try:
        message.validate()
    except (jsonschema.ValidationError, AttributeError) as error:
        raise ValidationError(error) from error
    properties = BasicProperties(
        headers=dict(message._headers),  # noqa: SLF001 - as the library's own publishing reads them
        message_id=message.id,
        priority=message.priority,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=DeliveryMode.Persistent.value,
    )
    return _Encoded(message.topic, json.dumps(message.body, sort_keys=True).encode(), properties)
