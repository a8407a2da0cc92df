"""Reading a message's AMQP properties, whatever a publisher has put there.

The broker passes properties on as they came. pika gives up the connection over those it cannot read: a time in the year
292 billion among the headers, tables in tables. The message then comes again on the next connection, and for ever: one
publisher's slip would end all listening. Nothing in the properties decides what a push is, so the message is read
without those that cannot be.
"""

import logging
from typing import Any, Final

from pika.spec import BasicProperties

log = logging.getLogger(__name__)

_as_pika_does: Final[Any] = BasicProperties.decode


def read_leniently() -> None:
    """Let every connection of this process survive what it is sent. Doing it twice is doing it once."""
    BasicProperties.decode = _decode


def text(value: str | bytes | None) -> str:
    """Return a short string, a topic or a name, as text: pika leaves it as bytes where it is not UTF-8."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def _decode(properties: BasicProperties, encoded: bytes, offset: int = 0) -> BasicProperties:
    """Read properties; leave all of them out where one cannot be read."""
    try:
        return _as_pika_does(properties, encoded, offset)
    except Exception as error:  # noqa: BLE001 - whatever it stumbles over, the message must not come again for ever
        log.warning("a message's properties cannot be read and are passed over: %s", type(error).__name__)
        vars(properties).update(vars(BasicProperties()))
        return properties
