"""Our queue and its bindings on the broker, so that no message is lost while nobody consumes."""

import asyncio
from collections.abc import Sequence
from typing import Final

from ci_pipeline.bus.connection import FAILURES, parameters, unreachable
from ci_pipeline.bus.link import Link
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
        timeout: Seconds to connect, and for all of the rest.
        files: Certificates, for `amqps` only.

    Raises:
        BusUnreachable: the broker is away, refuses the account, or has the queue or exchange with other properties.
        SettingsError: the URL is not an AMQP URL, or `files` are not what it needs.
    """

    async def connect_and_declare() -> None:
        link = await Link.open(parameters(url, files), timeout)
        try:
            async with asyncio.timeout(timeout):
                await declare_on(link, exchange, queue, bindings)
        finally:
            await link.close()

    try:
        asyncio.run(connect_and_declare())
    except FAILURES as error:
        raise unreachable(error, url) from error


async def declare_on(link: Link, exchange: str, queue: str, bindings: Sequence[str]) -> int:
    """Declare the queue and its bindings over an open connection; return how many messages wait in it.

    Raises:
        pika.exceptions.AMQPError: the broker does not let us, or the connection is lost.
    """
    channel = link.channel
    if not exchange.startswith(_BROKERS_OWN):
        await link.ask(channel.exchange_declare, exchange, "topic", durable=True)
    declared = await link.ask(channel.queue_declare, queue, durable=True)
    for binding in bindings:
        await link.ask(channel.queue_bind, queue, exchange, binding)
    return int(declared.message_count)
