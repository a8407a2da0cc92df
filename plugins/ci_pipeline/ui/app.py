"""The application: its routes, the headers of every answer, and how errors look."""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from ci_pipeline.errors import CiPipelineError, DatabaseUnreachable
from ci_pipeline.ui.access import FindViewer, signed_in
from ci_pipeline.ui.bounds import Bounded
from ci_pipeline.ui.links import Links
from ci_pipeline.ui.pages import bus, change, images, pipeline, static, waive
from ci_pipeline.ui.rendering import answer

# Airflow shows the pages in a frame of its own, so its origin may frame them.
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_UNAUTHORIZED: Final = 401
_TITLES: Final = {403: "You may not see this", 404: "Not found", 405: "Not possible", 400: "Not understood"}


def create_app(find_viewer: FindViewer) -> FastAPI:
    """Return the pages.

    Args:
        find_viewer: tells who asks. Every route but none goes through it.
    """
    app = FastAPI(
        title="CI-Pipeline", openapi_url=None, docs_url=None, redoc_url=None, dependencies=[Depends(signed_in)]
    )
    app.state.find_viewer = find_viewer
    for page in (pipeline, change, waive, images, bus, static):
        app.include_router(page.router)
    app.middleware("http")(_with_headers)
    app.add_middleware(Bounded)
    app.exception_handler(HTTPException)(_refused)
    app.exception_handler(RequestValidationError)(_misunderstood)
    app.exception_handler(DatabaseUnreachable)(_away)
    app.exception_handler(CiPipelineError)(_failed)
    return app


async def _with_headers(request: Request, following: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await following(request)
    response.headers.update(_HEADERS)
    return response


def _refused(request: Request, error: Exception) -> Response:
    """Send a browser without a session to the login, and back; tell programs and those who may not."""
    status, detail = getattr(error, "status_code", 500), str(getattr(error, "detail", ""))
    if status == _UNAUTHORIZED and _is_browsing(request):
        path = quote(f"{request.scope.get('root_path', '')}{_below(request)}")
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(Links.of(request).login(path + query), status_code=303, headers=_NOT_KEPT)
    if status == _UNAUTHORIZED or not _wants_html(request):
        return JSONResponse({"detail": detail}, status_code=status, headers=_NOT_KEPT)
    return answer(request, "error.html", status=status, title=_TITLES.get(status, "It did not work"), sentence=detail)


def _misunderstood(request: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    told = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in problems)
    return answer(request, "error.html", status=400, title=_TITLES[400], sentence=told)


def _away(request: Request, error: Exception) -> Response:
    sentence = f"{error}. The page tries again by itself."
    return answer(request, "error.html", status=503, title="The database is away", sentence=sentence)


def _failed(request: Request, error: Exception) -> Response:
    return answer(request, "error.html", status=409, title="It was not done", sentence=str(error))


_NOT_KEPT: Final = {"Cache-Control": "no-store"}


def _is_browsing(request: Request) -> bool:
    navigates = request.headers.get("sec-fetch-mode", "navigate") == "navigate"
    return request.method == "GET" and navigates and _wants_html(request)


def _wants_html(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _below(request: Request) -> str:
    """Return the path below where the pages are mounted."""
    path: str = request.scope["path"]
    return path.removeprefix(request.scope.get("root_path", ""))
