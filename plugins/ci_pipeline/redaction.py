"""The secrets this process knows, and text without them.

Whoever reads a secret registers it here, once: the settings when they are read, the local stack when it makes its own.
Errors of ours, reasons, notes and what the commands print go through `redacted`; `operators/masking.py` hands what is
known on to Airflow, for the logs.
"""

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

MASK: Final = "***"
# Shorter ones are words, and would be masked in every sentence: the broker's well-known `guest` is no secret.
_SHORTEST: Final = 6
# From the first colon of an account to the last @: a password with a / or @ in it, unquoted, is one all the same.
_ACCOUNT: Final = re.compile(r"^[^/]*//[^:/?#@]*:(?P<password>.+)@", re.DOTALL)


class _Known:
    """What is known. Threads read it while another one learns, so it is replaced, never changed."""

    def __init__(self) -> None:
        self.secrets: tuple[str, ...] = ()

    def learn(self, secrets: set[str]) -> None:
        if new := secrets - set(self.secrets):
            # The longest first: one within another leaves nothing of it.
            self.secrets = tuple(sorted({*self.secrets, *new}, key=lambda secret: (-len(secret), secret)))


_known: Final = _Known()


def hide(secrets: Iterable[str]) -> None:
    """Know some secrets from now on. Too short ones are left out."""
    long = [secret for secret in secrets if len(secret) >= _SHORTEST]
    _known.learn({spelling for secret in long for spelling in _spellings(secret)})


def known() -> list[str]:
    """Return what is masked, in every spelling, the longest first."""
    return list(_known.secrets)


def forget() -> None:
    """Know no secret any more."""
    _known.secrets = ()


def redacted(text: str) -> str:
    """Return text with every known secret masked."""
    for secret in _known.secrets:
        text = text.replace(secret, MASK)
    return text


def passwords_in(url: str) -> list[str]:
    """Return the passwords of an address: of its account, and of its parameters. It may be malformed."""
    account = _ACCOUNT.match(url)
    found = [account["password"]] if account else []
    try:
        parts = urlsplit(url)
        found += [parts.password or "", *(value for key, value in parse_qsl(parts.query) if "password" in key)]
    except ValueError:  # what is in brackets is no address of a host
        pass
    return [spelling for password in found if password for spelling in (password, unquote(password))]


def _spellings(secret: str) -> set[str]:
    """Return how a secret is written as it is, in a URL, and within a JSON string or a `repr`."""
    return {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
