"""Our queue and its bindings on the broker, so that no message is lost while nobody consumes."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue

from ci_pipeline.bus.connection import FAILURES, connect, unreachable
from ci_pipeline.bus.tls import TlsFiles

_BROKERS_OWN: Final = "amq."
_NO_FILES: Final = TlsFiles()


def declare(  # noqa: PLR0913 - where the broker is, what is declared there, and how long that may take
    url: str,
    exchange: str,
    queue: str,
    bindings: Sequence[str],
    *,
    timeout: float = 15,
    files: TlsFiles = _NO_FILES,
) -> None:
    """Declare the durable queue and bind it to the topics. Done twice it is done once.

    A binding that is no longer in `bindings` stays: AMQP cannot list them. Not for coroutines: there use `declare_on`.

    Args:
        url: AMQP URL.
        exchange: Topic exchange; declared durable if it is not one of the broker's own (`amq.topic`).
        queue: Name of the queue.
        bindings: Topic patterns: `*.*.*.git.receive`.
        timeout: Seconds for all of it.
        files: Certificates, for `amqps` only.

    Raises:
        BusUnreachable: the broker is away, refuses the account, or has the queue or exchange with other properties.
        SettingsError: the URL is not an AMQP URL, or `files` are not what it needs.
    """
    try:
        asyncio.run(_declare(connect(url, timeout, files), exchange, queue, bindings, timeout))
    except FAILURES as error:
        raise unreachable(error, url) from error


async def declare_on(channel: AbstractChannel, exchange: str, queue: str, bindings: Sequence[str]) -> AbstractQueue:
    """Declare the queue and its bindings on an open channel and return the queue."""
    if not exchange.startswith(_BROKERS_OWN):
        await channel.declare_exchange(exchange, ExchangeType.TOPIC, durable=True)
    declared = await channel.declare_queue(queue, durable=True)
    for binding in bindings:
        await declared.bind(exchange, binding)
    return declared


async def _declare(
    opening: Awaitable[AbstractConnection], exchange: str, queue: str, bindings: Sequence[str], seconds: float
) -> None:
    async with asyncio.timeout(seconds), await opening as connection:
        channel = await connection.channel()
        await declare_on(channel, exchange, queue, bindings)
