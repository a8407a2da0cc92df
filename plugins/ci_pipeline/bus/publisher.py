"""Publishing, from synchronous code: an Airflow task, its callback, the reconciler, the command line.

Why not `fedora_messaging.api.publish`: it runs a Twisted reactor in a thread, which does not survive the fork an
Airflow task starts with; its configuration is one global of the process; and it waits for a broker that is away until a
timeout, where we want to know at once (the outbox keeps the message). So the messages are fedora-messaging's, class,
headers and encoding, and only the transport is aio-pika, whose every step has a deadline. No thread, no global state.
"""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self, cast

import jsonschema
from aio_pika import DeliveryMode
from aio_pika import Message as AmqpMessage
from aio_pika.abc import AbstractConnection, AbstractExchange
from aiormq import Channel
from fedora_messaging.exceptions import ValidationError
from fedora_messaging.message import Message

from ci_pipeline.bus.connection import FAILURES, REFUSALS, connect, not_published
from ci_pipeline.bus.tls import TlsFiles
from ci_pipeline.errors import CiPipelineError, MessageRejected

CLOSE_SECONDS: Final = 1.0
_NO_FILES: Final = TlsFiles()


class _Open(NamedTuple):
    """What is there to publish on; the channel is the one below the exchange."""

    exchange: AbstractExchange
    channel: Channel


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
        self._connection: AbstractConnection | None = None
        self._open: _Open | None = None

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
        if self._connection is not None:
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

        async def send(position: int, channel: Channel) -> None:
            message, topic = _encoded(messages[position])
            # Not by aio-pika's exchange: that lets each message wait until the one before it has left.
            await channel.basic_publish(
                message.body,
                exchange=self._exchange_name,
                routing_key=topic,
                properties=message.properties,
                wait=False,
            )
            confirmed.add(position)

        # Whatever fails here is found out, and said, when the message is published by itself.
        with contextlib.suppress(*FAILURES, CiPipelineError):
            async with asyncio.timeout(self._timeout):
                channel = (self._open or await self._connect()).channel
                sent = [send(position, channel) for position in range(len(messages))]
                await asyncio.gather(*sent, return_exceptions=True)
        if len(confirmed) < len(messages):
            await self._disconnect()
        return confirmed

    async def _publish(self, message: Message, *, mandatory: bool) -> None:
        amqp_message, topic = _encoded(message)
        async with asyncio.timeout(self._timeout):
            if not await self._publish_on_kept(amqp_message, topic, mandatory=mandatory):
                exchange = (await self._connect()).exchange
                await exchange.publish(amqp_message, topic, mandatory=mandatory)

    async def _publish_on_kept(self, amqp_message: AmqpMessage, topic: str, *, mandatory: bool) -> bool:
        """Publish on the connection of an earlier message.

        It may be dead without our knowing: nobody answers heartbeats between two calls. Then return False.
        """
        if self._open is None:
            return False
        try:
            await self._open.exchange.publish(amqp_message, topic, mandatory=mandatory)
        except REFUSALS:
            raise
        except FAILURES:
            await self._disconnect()
            return False
        return True

    async def _connect(self) -> "_Open":
        self._connection = await connect(self._url, self._timeout, self._files)
        channel = await self._connection.channel(on_return_raises=True)
        exchange = await channel.get_exchange(self._exchange_name, ensure=False)
        self._open = _Open(exchange, cast("Channel", await channel.get_underlay_channel()))
        return self._open

    async def _disconnect(self) -> None:
        connection, self._connection, self._open = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(*FAILURES):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.close()


def _encoded(message: Message) -> tuple[AmqpMessage, str]:
    """Return a message as fedora-messaging puts it on the wire, and its topic.

    Raises:
        fedora_messaging.exceptions.ValidationError: it breaks its schema.
    """
    try:
        message.validate()
    except (jsonschema.ValidationError, AttributeError) as error:
        raise ValidationError(error) from error
    amqp_message = AmqpMessage(
        body=json.dumps(message.body, sort_keys=True).encode(),
        headers=dict(message._headers),  # noqa: SLF001 - as the library's own publishing reads them
        message_id=message.id,
        priority=message.priority,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=DeliveryMode.PERSISTENT,
    )
    return amqp_message, message.topic
