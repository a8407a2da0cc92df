"""Answers: what was found as JSON, with an ETag that stays as long as what was found does."""

import json
from hashlib import sha256
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from ci_pipeline.datahub import queries

T = TypeVar("T")

_KEPT: Final = {"Cache-Control": "private, no-cache", "Vary": "Cookie, Authorization"}


class Page(BaseModel, Generic[T]):
    """Some of what was asked for, the newest first."""

    items: tuple[T, ...]
    next: str | None = Field(description="address of the next page, below this host; null on the last")


def page(request: Request, found: queries.Page[Any]) -> Response:
    """Return a page, with the address of the next one in its body and its `Link` header."""
    following = None if found.before is None else _with_cursor(request, found.before)
    link = {} if following is None else {"Link": f'<{following}>; rel="next"'}
    return answer(request, Page(items=found.items, next=following), link)


def answer(request: Request, content: BaseModel, headers: dict[str, str] | None = None) -> Response:
    """Return what was found; whoever has it already is told so in a few bytes."""
    tag = f'W/"{sha256(json.dumps(_lasting(content.model_dump(mode="json"))).encode()).hexdigest()[:32]}"'
    sent = {"ETag": tag, **_KEPT, **(headers or {})}
    if _has(request, tag):
        return Response(status_code=304, headers=sent)
    # Unlike json's own, pydantic's JSON is valid whatever the numbers are.
    return Response(content.model_dump_json(), headers=sent, media_type="application/json")


def _lasting(content: Any) -> Any:
    """Return content without what time alone changes: how long what still runs has been running."""
    if isinstance(content, list):
        return [_lasting(one) for one in content]
    if not isinstance(content, dict):
        return content
    runs = "seconds" in content and content.get("ended_at", "") is None
    return {key: _lasting(value) for key, value in content.items() if not (runs and key == "seconds")}


def _has(request: Request, tag: str) -> bool:
    """Tell whether a request names a tag among those it has. Tags are compared weakly, as RFC 9110 has it."""
    told = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    return "*" in told or tag.removeprefix("W/") in {one.removeprefix("W/") for one in told}


def _with_cursor(request: Request, cursor: int) -> str:
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return f"{quote(request.url.path)}?{urlencode([*query, ('cursor', cursor)])}"
