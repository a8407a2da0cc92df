"""Connecting to the broker, and what its refusals mean to us. Shared by publisher, topology and consumer."""

import asyncio
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

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

from ci_pipeline.bus import properties, tls
from ci_pipeline.bus.tls import TlsFiles
from ci_pipeline.errors import BusUnreachable, CiPipelineError, MessageRejected, SettingsError

SCHEMES: Final = ("amqp", "amqps")
_NONE: Final = TlsFiles()
properties.read_leniently()
_HANGING_UP: Final = (ConnectionResetError, BrokenPipeError, asyncio.IncompleteReadError)
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


class _DroppedError(ConnectionError):
    """The broker has ended a connection before it was open, and not said why, or we have not heard it."""


_ADVICE: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    (
        (AuthenticationError,),
        "does not take this way to log in; that is PLAIN with a password in bus.url, else EXTERNAL by bus.certificate",
    ),
    (
        (ProbableAuthenticationError,),
        "refuses the account; check the user and password in bus.url, or whom bus.certificate names",
    ),
    (
        (_DroppedError,),
        "ends the connection at once; does it want amqps:// in bus.url, or with that another bus.certificate?",
    ),
    ((ChannelAccessRefused,), "does not let the account do this; give it the permission there"),
    ((ChannelNotFoundEntity,), "has no such exchange or queue; run `ci-pipeline up` or check bus.exchange"),
    ((ChannelPreconditionFailed,), "has it already, with other properties; delete it there or take another name"),
    ((TimeoutError,), "does not answer in time"),
)


async def connect(url: str, seconds: float, files: TlsFiles = _NONE) -> AbstractConnection:
    """Open a connection. Whoever speaks with the broker does so by this.

    With a certificate and without a password in the URL the certificate is the account (SASL EXTERNAL).

    Args:
        url: `amqp://user:password@host:port/vhost`, or `amqps`.
        seconds: Time the broker has to answer.
        files: Certificates, for `amqps` only.

    Raises:
        SettingsError: the URL is not an AMQP URL, or `files` are not what it needs.
        OSError, aio_pika.exceptions.AMQPError: as `unreachable` takes them.
    """
    place(url)
    # Given for amqps in any case: of what the URL's query says of TLS (`no_verify_ssl`) nothing is heeded.
    context = tls.context(files, encrypted=urlsplit(url).scheme == "amqps")
    try:
        opened: AbstractConnection = await aio_pika.connect(
            url,
            timeout=seconds,
            ssl_context=context,
            client_properties={"connection_name": "ci-pipeline", "app": "ci-pipeline"},
            **_mechanism(url, files),
        )
    except FAILURES as error:
        if _is_dropped(error):
            raise _DroppedError(_reason(error)) from error
        raise
    return opened


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
    known = next((text for types, text in _ADVICE if isinstance(error, types)), "is not reachable")
    advice, reason = tls.failure(error) or (known, _reason(error))
    return BusUnreachable(f"the broker at {place(url)} {advice}: {reason}")


def not_published(error: BaseException, url: str) -> CiPipelineError:
    """Return our error for one of fedora-messaging's, aio-pika's or the socket's that kept a message from the bus.

    BusUnreachable for all that may pass, and for what is not known: so no message is lost by a wrong guess here.
    """
    if isinstance(error, fedora.ConfigurationException):
        return SettingsError(f"fedora-messaging's own configuration is wrong: {error.message}")
    if isinstance(error, REFUSALS):
        return MessageRejected(f"the broker at {place(url)} refuses the message: {_reason(error)}")
    return unreachable(error, url)


def _mechanism(url: str, files: TlsFiles) -> dict[str, Any]:
    """Return how to log in, as aiormq takes it, where that is not the URL's to say."""
    parts = urlsplit(url)
    external = files.certificate and not parts.password and "auth" not in parse_qs(parts.query)
    return {"auth": "external"} if external else {}


def _is_dropped(error: BaseException) -> bool:
    """Tell whether the broker just hung up. In TLS 1.3 that can overtake the alert that says why."""
    return tls.failure(error) is None and any(isinstance(cause, _HANGING_UP) for cause in tls.causes(error))


def _reason(error: BaseException) -> str:
    if isinstance(error, AuthenticationError):
        return f"it offers {error.args[0]}"
    if isinstance(error, fedora.ValidationError) and error.args:
        return error.summary
    return " ".join(str(error).split()) or type(error).__name__
