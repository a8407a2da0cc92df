"""How to reach the broker, and what its refusals mean to us. Shared by publisher, topology and consumer."""

import logging
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from fedora_messaging import exceptions as fedora
from pika import ConnectionParameters, SSLOptions
from pika import exceptions as pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.credentials import ExternalCredentials, PlainCredentials
from pika.spec import Connection as ConnectionMethods

from ci_pipeline.bus import properties, tls
from ci_pipeline.bus.link import NoQueueError
from ci_pipeline.bus.tls import TlsFiles
from ci_pipeline.errors import BusUnreachable, CiPipelineError, MessageRejected, SettingsError

SCHEMES: Final = ("amqp", "amqps")
_DEFAULT_ACCOUNT: Final = "guest"
# What is on a level of its own in pika's tree, and what its connecting raises.
FAILURES: Final = (
    pika.AMQPError,
    pika.ChannelError,
    pika.ReentrancyError,
    AMQPConnectorException,
    OSError,
    fedora.BaseException,
)
# Refusals of one message: publishing it again cannot help. Anything else is the broker's state: the message is kept.
# (A nack is a full queue or disk, and passes.)
_REFUSALS: Final = (
    NoQueueError,
    fedora.ValidationError,
    fedora.PermissionException,
    fedora.PublishForbidden,
    fedora.PublishReturned,
)
# AMQP's reply codes.
_ACCESS_REFUSED: Final = 403
_ADVICE_BY_CODE: Final = {
    _ACCESS_REFUSED: "does not let the account do this; give it the permission there",
    404: "has no such exchange or queue; run `ci-pipeline up` or check bus.exchange",
    406: "has it already, with other properties; delete it there or take another name",
}
_AWAY: Final = "is not reachable"
_REFUSES_ACCOUNT: Final = "refuses the account; check the user and password in bus.url, or whom bus.certificate names"
_HANGS_UP: Final = (
    "ends the connection at once; does it want amqps:// in bus.url, or with that another bus.certificate?"
)
_ADVICE: Final[tuple[tuple[type[Exception], str], ...]] = (
    (
        pika.AuthenticationError,
        "does not take this way to log in; that is PLAIN with a password in bus.url, else EXTERNAL by bus.certificate",
    ),
    (TimeoutError, "does not answer in time"),
)

properties.read_leniently()
# It logs each connection, and what goes wrong with one as errors: our own errors say that, once.
logging.getLogger("pika").setLevel(logging.CRITICAL)


def parameters(url: str, files: TlsFiles) -> ConnectionParameters:
    """Return how to connect. Whoever speaks with the broker does so by this.

    With a certificate and without a password in the URL the certificate is the account (SASL EXTERNAL). Of the URL's
    query `auth=external` and `heartbeat` (seconds) are heeded, and nothing that it says of TLS.

    Args:
        url: `amqp://user:password@host:port/vhost`, or `amqps`.
        files: Certificates, for `amqps` only.

    Raises:
        SettingsError: the URL is not an AMQP URL, or `files` are not what it needs.
    """
    host, _, port = place(url).rpartition(":")
    parts = urlsplit(url)
    context = tls.context(files, encrypted=parts.scheme == "amqps")
    return ConnectionParameters(
        host=host,
        port=int(port),
        virtual_host=unquote(parts.path[1:]) or "/",
        credentials=_credentials(parts, files),
        ssl_options=SSLOptions(context, host) if context else None,
        heartbeat=_heartbeat(parts),
        client_properties={"connection_name": "ci-pipeline", "app": "ci-pipeline"},
        # Whoever connects has a deadline for all of it.
        socket_timeout=None,
        stack_timeout=None,
    )


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
    advice, reason = tls.failure(error) or (_advice(error), _reason(error))
    return BusUnreachable(f"the broker at {place(url)} {advice}: {reason}")


def not_published(error: BaseException, url: str) -> CiPipelineError:
    """Return our error for one of fedora-messaging's, pika's or the socket's that kept a message from the bus.

    BusUnreachable for all that may pass, and for what is not known: so no message is lost by a wrong guess here.
    """
    if isinstance(error, fedora.ConfigurationException):
        return SettingsError(f"fedora-messaging's own configuration is wrong: {error.message}")
    if is_refusal(error):
        return MessageRejected(f"the broker at {place(url)} refuses the message: {_reason(error)}")
    return unreachable(error, url)


def is_refusal(error: BaseException) -> bool:
    """Tell whether the one message is refused for good, and not all of them for now."""
    return isinstance(error, _REFUSALS) or _closed_with(error) == _ACCESS_REFUSED


class _Login:
    """Logs in as the class beside it does; what a broker takes that does not take that is said: pika does not."""

    def response_for(self, start: ConnectionMethods.Start) -> tuple[str | None, bytes | None]:
        """Return how to log in.

        Raises:
            pika.exceptions.AuthenticationError: the broker does not take that.
        """
        answer: tuple[str | None, bytes | None] = super().response_for(start)  # type: ignore[misc]  # of that class
        if answer[0] is None:
            raise pika.AuthenticationError(f"it offers {properties.text(start.mechanisms)}")
        return answer


class _Plain(_Login, PlainCredentials):  # type: ignore[misc]  # pika has no types
    """Logs in by a password."""


class _External(_Login, ExternalCredentials):  # type: ignore[misc]  # pika has no types
    """Logs in by the certificate."""


def _credentials(parts: SplitResult, files: TlsFiles) -> PlainCredentials | ExternalCredentials:
    chosen = parse_qs(parts.query).get("auth", [])
    if chosen == ["external"] or (files.certificate and not parts.password and not chosen):
        return _External()
    return _Plain(unquote(parts.username or _DEFAULT_ACCOUNT), unquote(parts.password or _DEFAULT_ACCOUNT))


def _heartbeat(parts: SplitResult) -> int | None:
    """Return the seconds between heartbeats that the URL asks for; None: as the broker wants them."""
    [seconds] = parse_qs(parts.query).get("heartbeat", [""])[-1:]
    return int(seconds) if seconds.isdecimal() else None


def _advice(error: BaseException) -> str:
    """Return what an error means to whoever has set up the broker and us."""
    if code := _closed_with(error):
        return _ADVICE_BY_CODE.get(code, _AWAY)
    if isinstance(error, pika.ProbableAuthenticationError) and "ACCESS_REFUSED" in str(error):
        return _REFUSES_ACCOUNT
    if isinstance(error, pika.IncompatibleProtocolError | pika.ProbableAuthenticationError):
        return _HANGS_UP
    return next((text for known, text in _ADVICE if isinstance(error, known)), _AWAY)


def _closed_with(error: BaseException) -> int:
    """Return the reply code with which the broker has closed the channel; 0: it has not."""
    return error.reply_code if isinstance(error, pika.ChannelClosedByBroker) else 0


def _reason(error: BaseException) -> str:
    if isinstance(error, fedora.ValidationError) and error.args:
        return error.summary
    return " ".join(str(error).split()) or type(error).__name__
