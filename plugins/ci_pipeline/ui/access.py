"""Who may see and do what: decided by whoever mounts the pages, asked for on every route."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request, status

from ci_pipeline import settings


@dataclass(frozen=True, slots=True)
class Viewer:
    """Someone who is signed in and may read. `may_act`: may trigger, and so may replay."""

    name: str
    may_act: bool


# Answers who asks; raises HTTPException 401 when nobody is signed in, 403 when they may not read.
FindViewer = Callable[[Request], Awaitable[Viewer]]


async def signed_in(request: Request) -> Viewer:
    """Return who asks.

    Raises:
        HTTPException: 401, nobody is signed in; 403, they may not read.
    """
    find: FindViewer = request.app.state.find_viewer
    viewer = await find(request)
    request.state.viewer = viewer
    return viewer


SignedIn = Annotated[Viewer, Depends(signed_in)]


def acting(request: Request, viewer: SignedIn) -> None:
    """Let someone act, if they may and if the request comes from one of our own pages.

    The session is a cookie, and a browser sends it with whatever form another site submits.

    Raises:
        HTTPException: 403.
    """
    if not viewer.may_act:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "You may read here; to act you need the permission to trigger.")
    if not _is_ours(request):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "This did not come from one of these pages; nothing was done.")


def _is_ours(request: Request) -> bool:
    """Tell whether a request comes from our pages, or from a program: a token in a header is no cookie."""
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        return True
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    # Browsers leave it out on plain http; all send the origin with a POST.
    origin = urlsplit(request.headers.get("origin", "")).netloc
    return bool(origin) and origin in {request.url.netloc, urlsplit(settings.current().airflow.url).netloc}
