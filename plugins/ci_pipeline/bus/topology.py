"""Our queue and its bindings on the broker, so that no message is lost while nobody consumes."""

import asyncio
from collections.abc import Sequence
from typing import Final

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractQueue

from ci_pipeline.bus.connection import FAILURES, connect, unreachable

_BROKERS_OWN: Final = "amq."


def declare(url: str, exchange: str, queue: str, bindings: Sequence[str], *, timeout: float = 15) -> None:
    """Declare the durable queue and bind it to the topics. Done twice it is done once.

    A binding that is no longer in `bindings` stays: AMQP cannot list them. Not for coroutines: there use `declare_on`.

    Args:
        url: AMQP URL.
        exchange: Topic exchange; declared durable if it is not one of the broker's own (`amq.topic`).
        queue: Name of the queue.
        bindings: Topic patterns: `*.*.*.git.receive`.
        timeout: Seconds for all of it.

    Raises:
        BusUnreachable: the broker is away, refuses the account, or has the queue or exchange with other properties.
        SettingsError: the URL is not an AMQP URL.
    """
    try:
        asyncio.run(_declare(url, exchange, queue, bindings, timeout))
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


async def _declare(url: str, exchange: str, queue: str, bindings: Sequence[str], seconds: float) -> None:
    async with asyncio.timeout(seconds), await connect(url, seconds) as connection:
        channel = await connection.channel()
        await declare_on(channel, exchange, queue, bindings)
