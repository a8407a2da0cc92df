"""Reading a message's AMQP properties, whatever a publisher has put there.

The broker passes properties on as they came. pamqp, which reads them for aio-pika, gives up the connection over one it
cannot read: a time in the year 292 billion, a name that is not UTF-8, tables in tables. The message then comes again on
the next connection, and for ever: one publisher's slip would end all listening. Nothing in the properties decides
what a push is, so the message is read without those that cannot be.
"""

import logging
from typing import Final

from pamqp import decode
from pamqp.commands import Basic
from pamqp.header import ContentHeader

log = logging.getLogger(__name__)

_DELIVERY_MODES: Final = frozenset({None, 1, 2})
_as_pamqp_does: Final = ContentHeader.unmarshal


def read_leniently() -> None:
    """Let every connection of this process survive what it is sent. Doing it twice is doing it once."""
    ContentHeader.unmarshal = _unmarshal  # type: ignore[assignment,method-assign]
    decode.METHODS["shortstr"] = _short_text


def _unmarshal(header: ContentHeader, data: bytes) -> None:
    """Read a content header; without its properties where they cannot be read."""
    try:
        _as_pamqp_does(header, data)
    except Exception as error:  # noqa: BLE001 - whatever it stumbles over, the message must not come again for ever
        log.warning("a message's properties cannot be read and are passed over: %s", type(error).__name__)
        header.properties = Basic.Properties()
    _drop_unusable(header.properties)


def _drop_unusable(properties: Basic.Properties) -> None:
    """Drop what aio-pika would refuse a message for, and we have no use for."""
    if properties.delivery_mode not in _DELIVERY_MODES:
        properties.delivery_mode = None
    if properties.expiration is not None and not _is_number(properties.expiration):
        properties.expiration = None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _short_text(value: bytes) -> tuple[int, str]:
    """Read a short string: a topic, the name of a queue. What is not UTF-8 in it shows as replaced.

    Raises:
        ValueError: there is none.
    """
    if not value:
        raise ValueError("no short string is left to be read")
    end = value[0] + 1
    return end, value[1:end].decode("utf-8", errors="replace")
