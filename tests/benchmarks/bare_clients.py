"""The yardsticks of the intake: clients of the bus that decide, write and fire nothing."""

import asyncio
import time
from typing import Final

import aio_pika

_BATCH: Final = 200


def consume(url: str, queue: str, messages: int) -> float:
    """Consume and acknowledge so many messages, in batches as the pipeline's; return the seconds."""
    return asyncio.run(_consume(url, queue, messages, answer=False))


def answer(url: str, queue: str, messages: int) -> float:
    """The same, and publish an answer to each, which the broker confirms before the next; return the seconds."""
    return asyncio.run(_consume(url, queue, messages, answer=True))


async def _consume(url: str, queue: str, messages: int, *, answer: bool) -> float:
    inbox: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage] = asyncio.Queue()
    began = time.perf_counter()
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=_BATCH)
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
