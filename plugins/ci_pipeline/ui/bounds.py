"""How large a request may be: one answer for every page and API, before anything else looks at it.

Nothing that is asked here is long. What is longer is refused after as many bytes as it may have, whether it says its
length or not, and whoever sends it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Bytes. A body: a decision on a hundred subjects with room to spare.
LONGEST_BODY: Final = 64 * 1024
LONGEST_PATH: Final = 2 * 1024
LONGEST_QUERY: Final = 8 * 1024
LONGEST_HEADERS: Final = 32 * 1024
MOST_HEADERS: Final = 100
MOST_PARAMETERS: Final = 100
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: HTTPStatus
    sentence: str

    async def send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a problem (RFC 9457), as the API does; a page's reader can read it, too."""
        told = {"type": "about:blank", "title": self.status.phrase, "status": self.status, "detail": self.sentence}
        answer = JSONResponse(told, self.status, _HEADERS, media_type="application/problem+json")
        await answer(scope, receive, send)


_BODY: Final = _Refusal(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    f"The body is longer than {LONGEST_BODY} bytes: nothing here takes as much; ask in several requests",
)


class Bounded:
    """Refuses what is too large: a middleware for every application that answers strangers."""

    def __init__(self, app: ASGIApp) -> None:
        """Take what answers the rest."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it be answered with its body, which is read by then."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = _too_much(scope)
        body = None if refusal else await _read(receive)
        if body is None:
            await (refusal or _BODY).send(scope, receive, send)
        else:
            await self._app(scope, _again(body, receive), send)


def _too_much(scope: Scope) -> _Refusal | None:
    """Return why a request is refused by what comes before its body; None if it is not."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    sizes = [len(name) + len(value) for name, value in headers]
    path, query = scope.get("raw_path") or scope["path"].encode(errors="replace"), scope.get("query_string", b"")
    if len(path) > LONGEST_PATH:
        return _Refusal(
            HTTPStatus.REQUEST_URI_TOO_LONG, f"The path is longer than {LONGEST_PATH} bytes: nothing is there"
        )
    if len(query) > LONGEST_QUERY:
        sentence = f"The query is longer than {LONGEST_QUERY} bytes: ask for less at once"
        return _Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, sentence)
    if query.count(b"&") >= MOST_PARAMETERS:
        return _Refusal(
            HTTPStatus.BAD_REQUEST, f"There are more than {MOST_PARAMETERS} parameters: ask for less at once"
        )
    if len(sizes) > MOST_HEADERS or sum(sizes) > LONGEST_HEADERS:
        sentence = f"There are more than {MOST_HEADERS} headers, or {LONGEST_HEADERS} bytes of them: send fewer"
        return _Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, sentence)
    return _BODY if _told_length(headers) > LONGEST_BODY else None


def _told_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """Return the Content-Length, 0 without one. What is no number the server has refused; here it is too long."""
    told = next((value for name, value in headers if name.lower() == b"content-length"), b"0").strip()
    return int(told) if told.isdigit() and len(told) < len(str(LONGEST_BODY)) + 1 else LONGEST_BODY + 1


async def _read(receive: Receive) -> bytes | None:
    """Return a body; None as soon as it is too long."""
    body, going_on = bytearray(), True
    while going_on:
        part = await receive()
        body += part.get("body", b"")
        if len(body) > LONGEST_BODY:
            return None
        going_on = part.get("more_body", False)
    return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives the body that was read, and then what comes after it: that the client is gone."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Message:
        return waiting.pop() if waiting else await receive()

    return give
