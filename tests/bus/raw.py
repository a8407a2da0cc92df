"""Messages whose properties are bytes, as a publisher can send them that no client library would make."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pika
from pika import spec
from pika.adapters.blocking_connection import BlockingChannel

# The bit of each property among the flags, in the order in which they follow (AMQP 0-9-1, 4.2.6).
_NAMES: Final = (
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)


def short(text: bytes) -> bytes:
    """Return a short string; `text` has at most 255 bytes."""
    return bytes([len(text)]) + text


def table(content: bytes) -> bytes:
    """Return a table, an array or a long string of a content that is encoded already."""
    return struct.pack(">I", len(content)) + content


def nested(depth: int) -> bytes:
    """Return a table in a table in a table."""
    content = b""
    for _ in range(depth):
        content = short(b"a") + b"F" + table(content)
    return table(content)


@dataclass(frozen=True, slots=True)
class Properties:
    """Encoded properties by name; pika sends what this encodes."""

    values: Mapping[str, bytes] = field(default_factory=dict)
    INDEX: int = spec.BasicProperties.INDEX

    def encode(self) -> list[bytes]:
        """Return the flags and the values, as they go over the wire."""
        flags = sum(1 << 15 - place for place, name in enumerate(_NAMES) if name in self.values)
        return [struct.pack(">H", flags), *(self.values[name] for name in _NAMES if name in self.values)]


def publish(channel: BlockingChannel, topic: bytes, body: bytes, properties: Properties) -> None:
    """Publish on amq.topic as it is. Whether the broker takes it shows with the next thing that is asked of it."""
    method = spec.Basic.Publish(exchange="amq.topic", routing_key=topic)
    channel._impl._send_method(method, (properties, body))


def settled(connection: pika.BlockingConnection) -> None:
    """Wait until the broker has taken what was published: it answers in order."""
    connection.channel().close()
