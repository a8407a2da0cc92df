"""Connecting to the broker, and what its refusals mean to us. Shared by publisher, topology and consumer."""

from typing import Final
from urllib.parse import urlsplit

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AuthenticationError,
    ProbableAuthenticationError,
    PublishError,
)
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed
from fedora_messaging import exceptions as fedora

from ci_pipeline.errors import BusUnreachable, CiPipelineError, MessageRejected, SettingsError

SCHEMES: Final = ("amqp", "amqps")
FAILURES: Final = (*CONNECTION_EXCEPTIONS, fedora.BaseException)

# Refusals of one message: publishing it again cannot help. Anything else is the broker's state: the message is kept.
# (A nack, aio-pika's DeliveryError, is a full queue or disk, and passes; PublishError is a message no queue takes.)
REFUSALS: Final = (
    ChannelAccessRefused,
    PublishError,
    fedora.ValidationError,
    fedora.PermissionException,
    fedora.PublishForbidden,
    fedora.PublishReturned,
)
_ADVICE: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    ((AuthenticationError, ProbableAuthenticationError), "refuses the account; check the user and password in bus.url"),
    ((ChannelAccessRefused,), "does not let the account do this; give it the permission there"),
    ((ChannelNotFoundEntity,), "has no such exchange or queue; run `ci-pipeline up` or check bus.exchange"),
    ((ChannelPreconditionFailed,), "has it already, with other properties; delete it there or take another name"),
    ((TimeoutError,), "does not answer in time"),
)


async def connect(url: str, seconds: float) -> AbstractConnection:
    """Open a connection.

    Args:
        url: `amqp://user:password@host:port/vhost`, or `amqps`.
        seconds: Time the broker has to answer.

    Raises:
        SettingsError: the URL is not an AMQP URL.
        OSError, aio_pika.exceptions.AMQPError: as `unreachable` takes them.
    """
    place(url)
    return await aio_pika.connect(url, timeout=seconds, client_properties={"connection_name": "ci-pipeline"})


def place(url: str) -> str:
    """Return the broker's `host:port`, which may be shown (the URL holds a password).

    Raises:
        SettingsError: the URL is not an AMQP URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in SCHEMES or not parts.hostname:
        msg = "bus.url is not an AMQP URL; write amqp://user:password@host:port/vhost"
        raise SettingsError(msg)
    return f"{parts.hostname}:{port}"


def unreachable(error: BaseException, url: str) -> BusUnreachable:
    """Return what kept us from the broker, with advice where there is some."""
    advice = next((text for types, text in _ADVICE if isinstance(error, types)), "is not reachable")
    return BusUnreachable(f"the broker at {place(url)} {advice}: {_reason(error)}")


def not_published(error: BaseException, url: str) -> CiPipelineError:
    """Return our error for one of fedora-messaging's, aio-pika's or the socket's that kept a message from the bus.

    BusUnreachable for all that may pass, and for what is not known: so no message is lost by a wrong guess here.
    """
    if isinstance(error, fedora.ConfigurationException):
        return SettingsError(f"fedora-messaging's own configuration is wrong: {error.message}")
    if isinstance(error, REFUSALS):
        return MessageRejected(f"the broker at {place(url)} refuses the message: {_reason(error)}")
    return unreachable(error, url)


def _reason(error: BaseException) -> str:
    if isinstance(error, fedora.ValidationError) and error.args:
        return error.summary
    return " ".join(str(error).split()) or type(error).__name__
