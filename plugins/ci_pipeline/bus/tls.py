"""TLS with the broker: the files it takes, and what its failures mean to us."""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ci_pipeline.errors import SettingsError

# What an alert of the broker, or OpenSSL's own reason, means to us. The names are OpenSSL's, by their ends.
_ADVICE: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (
        ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE"),
        "breaks the TLS handshake off; it may want a certificate: set bus.certificate and bus.key",
    ),
    (("CERTIFICATE_EXPIRED",), "says that our certificate is out of date; renew bus.certificate"),
    (
        ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE", "CERTIFICATE_REVOKED"),
        "does not trust our certificate; put one of a CA it trusts into bus.certificate",
    ),
    (("WRONG_VERSION_NUMBER",), "does not speak TLS there; check the port in bus.url, or write amqp://"),
    (("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"), "speaks no TLS 1.2; it needs a newer one"),
)
_SERVER: Final = "has a certificate that does not hold; check bus.ca, and the host name in bus.url"
_OTHER: Final = "breaks the TLS connection off; its log says why"
# Of what ends a connection behind the handshake pika leaves only the text.
_QUOTED: Final = re.compile(r"SSLError\(.*?\[SSL: (\w+)\]")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the PEM files are. None: the public CAs; no certificate of ours.

    Attributes:
        ca: CA certificates, one of which must have signed the broker's.
        certificate: our certificate, with the chain up to the broker's CA.
        key: its private key, without a passphrase.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def context(files: TlsFiles, *, encrypted: bool) -> ssl.SSLContext | None:
    """Return how to speak TLS; None without. The files are read each time: a renewed certificate is used.

    The broker's certificate and host name are always verified, and TLS 1.2 is the oldest that is spoken.

    Args:
        files: where the certificates are.
        encrypted: whether the broker's URL is `amqps://`.

    Raises:
        SettingsError: a file cannot be read, does not hold what it should, or is not for this URL.
    """
    _check(files, encrypted=encrypted)
    if not encrypted:
        return None
    made = _trusting(files.ca)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.certificate and files.key:
        _identify(made, files.certificate, files.key)
    return made


def failure(error: BaseException) -> tuple[str, str] | None:
    """Return advice and OpenSSL's words for an error that a failure of TLS has caused; None for any other."""
    cause = next((one for one in causes(error) if isinstance(one, ssl.SSLError)), None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _SERVER, cause.verify_message.rstrip(".")
    reason = (cause.reason or str(cause)) if cause else _quoted(error)
    if not reason:
        return None
    return next((text for ends, text in _ADVICE if reason.endswith(ends)), _OTHER), reason


def _quoted(error: BaseException) -> str:
    """Return OpenSSL's reason where only the text of an error has it; "" where it has none."""
    found = _QUOTED.search(str(error))
    return found[1] if found else ""


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it. One error may be raised in several places: the chain may have a circle."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _check(files: TlsFiles, *, encrypted: bool) -> None:
    if bool(files.certificate) != bool(files.key):
        raise SettingsError("bus.certificate and bus.key go together; set both, or none")
    named = {"bus.ca": files.ca, "bus.certificate": files.certificate, "bus.key": files.key}
    given = {name: path for name, path in named.items() if path}
    if given and not encrypted:
        raise SettingsError(f"{', '.join(given)}: for TLS only; write amqps:// in bus.url, or unset them")
    for name, path in given.items():
        _check_readable(name, path)


def _check_readable(name: str, path: Path) -> None:
    """Do what the ssl module does not: its error does not tell which file it is about."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise SettingsError(
            f"{name} {path} cannot be read: {error.strerror}; correct the path, or let our account read it"
        ) from error


def _trusting(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(f"bus.ca {ca} holds no certificate in PEM form; put the broker's CA there") from error


def _identify(made: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        # The password is there so that nobody is asked for one on a terminal.
        made.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise SettingsError(
                f"bus.key {key} is not the key of bus.certificate {certificate}; take the one it was made for"
            ) from error
        raise SettingsError(
            f"bus.certificate {certificate} or bus.key {key} cannot be used; "
            "both have to be in PEM form, and the key without a passphrase"
        ) from error
