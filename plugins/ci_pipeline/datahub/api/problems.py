"""How an error looks: one shape (RFC 9457), with a sentence that says what to do."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from ci_pipeline.datahub.api.edge import HEADERS
from ci_pipeline.errors import DatabaseUnreachable, StoreError

MEDIA_TYPE: Final = "application/problem+json"
_RETRY_SECONDS: Final = 5
_LONGEST: Final = 1000


class Problem(BaseModel):
    """An error."""

    type: str = Field(description="always `about:blank`: the status says what kind of error it is")
    title: str = Field(description="the status in words")
    status: int
    detail: str = Field(description="what is wrong, and what to do")


def _documented(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}


RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "Nothing has changed since the answer with the ETag in `If-None-Match`"},
    400: _documented("A parameter is unknown, given twice, or its value wrong"),
    401: _documented("Nobody is signed in: send a token"),
    403: _documented("Who asks may not read the pipeline's DAGs"),
    404: _documented("There is no such thing"),
    503: _documented("The database is away: try again later"),
    "default": _documented("Any other error"),
}


def handle(app: FastAPI) -> None:
    """Let every error of an application be answered as a problem."""
    app.exception_handler(HTTPException)(_refused)
    app.exception_handler(RequestValidationError)(_misunderstood)
    app.exception_handler(StoreError)(_missing)
    app.exception_handler(DatabaseUnreachable)(_away)
    app.exception_handler(Exception)(_broken)


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    told = Problem(type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail[:_LONGEST])
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return JSONResponse(told.model_dump(), status_code=status, headers=kept, media_type=MEDIA_TYPE)


def _refused(_: Request, error: Exception) -> Response:
    status, detail = getattr(error, "status_code", 500), str(getattr(error, "detail", ""))
    headers = dict(getattr(error, "headers", None) or {})
    if status == HTTPStatus.UNAUTHORIZED:
        detail = (
            f"{detail}: send a token of Airflow as `Authorization: Bearer TOKEN`; docs/datahub.md says how to get one"
        )
        headers["WWW-Authenticate"] = "Bearer"
    elif detail == HTTPStatus.NOT_FOUND.phrase:
        detail = "There is nothing at this address; api/v1/openapi.json lists what there is"
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = "This address does not take that method; api/v1/openapi.json lists which there are"
    return _problem(status, detail, headers)


def _misunderstood(_: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    return _problem(HTTPStatus.BAD_REQUEST, "; ".join(_sentence(one["loc"], one["msg"]) for one in problems))


def _sentence(location: Sequence[object], told: str) -> str:
    return f"{location[-1]}: {told.removeprefix('Value error, ')}"


def _missing(_: Request, error: Exception) -> Response:
    return _problem(HTTPStatus.NOT_FOUND, str(error))


def _away(_request: Request, _error: Exception) -> Response:
    # Where the database is, is nothing for whoever reads here.
    retry = {"Retry-After": str(_RETRY_SECONDS)}
    return _problem(HTTPStatus.SERVICE_UNAVAILABLE, "The database is away; ask again in a few seconds", retry)


def _broken(_request: Request, _error: Exception) -> Response:
    # Answered outside of all middleware, and raised again for the log.
    sentence = "This is a fault of the datahub, not of the request: tell those who run it; their log has it"
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, sentence, HEADERS)
