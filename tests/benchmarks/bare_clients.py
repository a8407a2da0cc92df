"""The yardsticks of the intake: clients of the bus that decide, write and fire nothing."""

import asyncio
import contextlib
import json
import time
from typing import Final, Self

import aio_pika
import pika

# As the pipeline's are, which takes half of what it may hold at a time.
_PREFETCH: Final = 1000
_BATCH: Final = 500


def consume(url: str, queue: str, messages: int) -> float:
    """Consume and acknowledge so many messages, in batches as the pipeline's; return the seconds."""
    return asyncio.run(_consume(url, queue, messages, answer=False))


def consume_fast(url: str, queue: str, messages: int) -> float:
    """The same by pika, which the pipeline uses as well: nothing in Python is known to be faster."""
    began = time.perf_counter()
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=_PREFETCH)
        for number, (method, _, _) in enumerate(channel.consume(queue), start=1):
            if number % _BATCH == 0 or number == messages:
                channel.basic_ack(method.delivery_tag, multiple=True)
            if number == messages:
                break
    return time.perf_counter() - began


def answer(url: str, queue: str, messages: int) -> float:
    """The same, and publish an answer to each, which the broker confirms before the next; return the seconds."""
    return asyncio.run(_consume(url, queue, messages, answer=True))


class Listener:
    """A client of the bus that notes when it hears of which revision: `with Listener(url, pattern)`, in a thread."""

    def __init__(self, url: str, pattern: str) -> None:
        """Listen from now on to what has a topic of a pattern."""
        self._heard: dict[str, float] = {}
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        channel = self._connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, "amq.topic", pattern)
        channel.basic_consume(queue, self._hear, auto_ack=True)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self._connection.close()

    def wait_for(self, rev: str) -> float:
        """Return when a revision was heard of."""
        while rev not in self._heard:
            self._connection.process_data_events(time_limit=1)
        return self._heard[rev]

    def _hear(self, _channel: object, _method: object, _properties: object, body: bytes) -> None:
        self._heard.setdefault(json.loads(body)["rev"], time.time())


async def _consume(url: str, queue: str, messages: int, *, answer: bool) -> float:
    inbox: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage] = asyncio.Queue()
    began = time.perf_counter()
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=_PREFETCH)
        await (await channel.get_queue(queue)).consume(inbox.put)
        exchange = await (await connection.channel()).get_exchange("amq.topic", ensure=False)
        while messages:
            batch = [await inbox.get()]
            while not inbox.empty() and len(batch) < _BATCH:
                batch.append(inbox.get_nowait())
            for message in batch if answer else ():
                await exchange.publish(aio_pika.Message(message.body[:1000], delivery_mode=2), "an.answer")
            await batch[-1].ack(multiple=True)
            messages -= len(batch)
    return time.perf_counter() - began
