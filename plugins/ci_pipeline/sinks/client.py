"""HTTP as sinks need it: everything they answer, or do not, is one of three errors.

A request has one deadline for all of it, so that a server that trickles cannot hold a pass up; hence asyncio. Answers
are read up to a limit. Redirects are not followed: they would take signature and password elsewhere. No proxy, no
`.netrc` and no certificates of the environment are used.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import httpx

from ci_pipeline import settings
from ci_pipeline.errors import SinkError, SinkFailed, SinkRefused, SinkUnreachable
from ci_pipeline.executors.report import clean
from ci_pipeline.redaction import redacted
from ci_pipeline.sink_sections import SinkSettings

MOST_BYTES: Final = 4 * 1024 * 1024
_LONGEST_ANSWER: Final = 1000
_LONGEST_ROOT: Final = 300
# They are about the sink, its address or our account; never about what was sent.
_OF_THE_SINK: Final = {401, 403, 404, 405, 407, 408, 410, 421, 425, 429, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: `body` is cut at 4 MiB."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        """Its body, fit for a log and a page."""
        # Servers and proxies print the request they choke on, with our account in it.
        text = redacted(clean(self.body[: 4 * _LONGEST_ANSWER].decode("utf-8", errors="replace")))
        return " ".join(text.split())[:_LONGEST_ANSWER]


class Client:
    """Connections to one sink. One per pass; not for coroutines."""

    def __init__(self, sink: SinkSettings, *, auth: httpx.Auth | None = None, token: str = "") -> None:
        """Take the sink's address, time and certificates; `token` is the whole header `Authorization`.

        Raises:
            SinkUnreachable: its file of certificates cannot be read.
        """
        self._sink = sink
        self._runner = asyncio.Runner()
        self._client = httpx.AsyncClient(
            auth=auth,
            headers={"Accept-Encoding": "identity", **({"Authorization": token} if token else {})},
            verify=_trusted(sink),
            timeout=sink.timeout_seconds,
            trust_env=False,
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        """Return itself; nothing is connected yet."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._runner.run(self._client.aclose())
        self._runner.close()

    def request(self, method: str, path: str = "", **options: Any) -> Answer:
        """Send a request below the sink's address and return an answer that says it was taken (2xx).

        Args:
            method: `GET` or `POST`.
            path: `/results`.
            options: `content`, `json`, `headers` and `params`, as httpx has them.

        Raises:
            SinkUnreachable: no answer, not known to be taken; or the sink as a whole takes nothing now.
            SinkFailed: it answered with an error (5xx).
            SinkRefused: it refuses this request (4xx).
        """
        try:
            return self._runner.run(self._send(method, path, options))
        except TimeoutError as error:
            raise self._away(f"no whole answer within {self._sink.timeout_seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise self._away(_root_of(error)) from error

    async def _send(self, method: str, path: str, options: Mapping[str, Any]) -> Answer:
        async with (
            asyncio.timeout(self._sink.timeout_seconds),
            self._client.stream(method, f"{self._sink.url}{path}", **options) as response,
        ):
            answer = Answer(response.status_code, await _beginning_of(response))
        if response.is_success:
            return answer
        raise _error_of(response, answer, f"{method} {self._sink.url}{path}")

    def _away(self, reason: str) -> SinkUnreachable:
        return SinkUnreachable(f"{self._sink.url} does not answer: {reason}")


def secret_of(sink: SinkSettings, key: str) -> str:
    """Return the secret in the environment variable that a key of a sink names; "" where it names none.

    Raises:
        SinkUnreachable: the variable is not set.
    """
    variable = str(getattr(sink, key))
    found = settings.secret(variable) if variable else None
    if variable and found is None:
        msg = f"the environment variable {variable} ({key} of the sink {sink.name}) is not set where it is delivered"
        raise SinkUnreachable(msg)
    return found.get_secret_value() if found else ""


def _trusted(sink: SinkSettings) -> ssl.SSLContext | bool:
    if sink.ca is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(sink.ca))
    except OSError as error:  # which ssl.SSLError is, too
        msg = f"the certificates of the sink {sink.name} cannot be read (ca = {sink.ca}): {error.strerror or error}"
        raise SinkUnreachable(msg) from error


async def _beginning_of(response: httpx.Response) -> bytes:
    """Return a body up to the limit, as it came: we ask for none that is compressed, which could be a bomb."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= MOST_BYTES:
            break
    return bytes(body[:MOST_BYTES])


def _error_of(response: httpx.Response, answer: Answer, asked: str) -> SinkError:
    said = f"{answer.status} to {asked}: {answer.text or 'nothing more'}"
    if response.is_redirect or response.status_code in _OF_THE_SINK or response.status_code < httpx.codes.BAD_REQUEST:
        return SinkUnreachable(f"it answered {said}", retry_after=_retry_after(response))
    if response.is_server_error:
        return SinkFailed(f"it answered {said}")
    return SinkRefused(f"it answered {said}")


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdecimal() and len(value) < len("1000000") else None


def _root_of(error: BaseException) -> str:
    return redacted(clean(str(error) or type(error).__name__))[:_LONGEST_ROOT]
