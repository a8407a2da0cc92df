"""No route takes what is too large: each that is mounted in Airflow, those to come as well."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from httpx import Response

from ci_pipeline.ui.bounds import (
    LONGEST_BODY,
    LONGEST_HEADERS,
    LONGEST_PATH,
    LONGEST_QUERY,
    MOST_HEADERS,
    MOST_PARAMETERS,
)
from operators import pages, ui_access
from tests.ui.conftest import Login

CHUNK: Final = b"a" * 1024
READ_AT_MOST: Final = 2 * LONGEST_BODY // len(CHUNK)
# A request of a page of ours, and of a program.
HEADERS: Final = {"sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}


@dataclass
class Endless:
    """A request with a body without a length and without an end. It counts what was taken of it."""

    taken: int = 0
    status: int = 0

    async def receive(self) -> dict[str, Any]:
        self.taken += 1
        assert self.taken <= READ_AT_MOST, "it reads on"
        return {"type": "http.request", "body": CHUNK, "more_body": True}

    async def send(self, message: dict[str, Any]) -> None:
        self.status = message.get("status", self.status)

    def ask(self, app: FastAPI, method: str, path: str) -> None:
        headers = [(b"host", b"testserver"), (b"transfer-encoding", b"chunked"), (b"sec-fetch-site", b"same-origin")]
        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
        scope |= {"headers": headers, "scheme": "http", "server": ("testserver", 80), "http_version": "1.1"}
        asyncio.run(app(scope, self.receive, self.send))


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, FastAPI]]:
    """Every application that Airflow mounts, with where it does."""
    monkeypatch.setattr(ui_access, "find_viewer", Login())
    monkeypatch.setattr(ui_access, "may_read_logs", lambda: None)
    return [(one["url_prefix"], one["app"]._make()) for one in pages.fastapi_apps()]


@pytest.fixture
def airflow(mounted: list[tuple[str, FastAPI]]) -> FastAPI:
    """What mounts them."""
    outer = FastAPI()
    for prefix, app in mounted:
        outer.mount(prefix, app)
    return outer


@pytest.fixture
def client(airflow: FastAPI) -> Iterator[TestClient]:
    """A client that gets an answer even to what breaks."""
    with TestClient(airflow, follow_redirects=False, raise_server_exceptions=False) as made:
        yield made


@pytest.fixture
def routes(mounted: list[tuple[str, FastAPI]]) -> list[tuple[str, str]]:
    """The method and path of every route, with something in the place of parameters."""
    found = []
    for prefix, app in mounted:
        ours = [route for route in app.routes if isinstance(route, APIRoute)]
        paths = {route.path: prefix + re.sub(r"{[^}]*}", "1", route.path) for route in ours}
        found += [(method, paths[route.path]) for route in ours for method in route.methods]
    return found


def refused(answer: Response, status: int, sentence: str) -> None:
    """Check that a request was refused with a sentence, and in one shape."""
    assert answer.status_code == status, answer.text
    if answer.request.method != "HEAD":
        assert sentence in json.loads(answer.text)["detail"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.usefixtures("database")
def test_every_route_refuses_what_is_too_large(client: TestClient, routes: list[tuple[str, str]]) -> None:
    """Whatever it is that is too large, and whether the route has any use for it."""
    assert len(routes) > 20
    for method, path in routes:
        for status, sentence, request in too_large(path):
            refused(client.request(method, **{"headers": HEADERS, **request}), status, sentence)


def too_large(path: str) -> list[tuple[int, str, dict[str, Any]]]:
    """Return requests with a path that are too large in one way each, with the status and what the answer says."""
    many = {f"x-{number}": "a" for number in range(MOST_HEADERS)}
    return [
        (413, "The body is longer than", {"url": path, "content": b"a" * (LONGEST_BODY + 1)}),
        (413, "The body is longer than", {"url": path, "headers": {**HEADERS, "content-length": "9" * 5000}}),
        (413, "The body is longer than", {"url": path, "content": iter([b"[" * LONGEST_BODY, b"["])}),
        (414, "The query is longer than", {"url": f"{path}?key={'a' * LONGEST_QUERY}"}),
        (414, "The path is longer than", {"url": f"{path}/{'a' * LONGEST_PATH}"}),
        (414, "The path is longer than", {"url": f"{path}/{'%00' * LONGEST_PATH}"}),
        (400, "parameters", {"url": f"{path}?{'&'.join(['a=b'] * (MOST_PARAMETERS + 1))}"}),
        (431, "headers", {"url": path, "headers": {**HEADERS, **many}}),
        (431, "headers", {"url": path, "headers": {**HEADERS, "cookie": "a" * LONGEST_HEADERS}}),
    ]


@pytest.mark.usefixtures("database")
def test_no_route_reads_on_when_it_is_enough(airflow: FastAPI, routes: list[tuple[str, str]]) -> None:
    """A body without a length may have no end."""
    for method, path in routes:
        endless = Endless()
        endless.ask(airflow, method, path)

        assert endless.status == 413, f"{method} {path}"
        assert endless.taken == LONGEST_BODY // len(CHUNK) + 1


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    "body",
    [
        b"[" * LONGEST_BODY,
        b'{"a":' * (LONGEST_BODY // 5),
        json.dumps({str(number): number for number in range(4_000)}).encode(),
        b"&".join(b"a=b" for _ in range(LONGEST_BODY // 4)),
        b'{"comment": ' + b"9" * 60_000 + b"}",
        b"\xff" * LONGEST_BODY,
        b"\x00",
    ],
    ids=["arrays", "objects", "keys", "fields", "digits", "no UTF-8", "NUL"],
)
def test_what_is_not_too_long_is_read_and_refused_for_what_it_is(
    client: TestClient, routes: list[tuple[str, str]], body: bytes
) -> None:
    """Deep documents, thousands of keys and fields: with a short sentence, where a body is read at all."""
    read = [path for method, path in routes if method == "POST" and not path.endswith("/replay")]
    for path in read:
        answer = client.post(path, headers=HEADERS, content=body)

        assert answer.status_code == 400, f"{path}: {answer.text}"
        assert len(answer.text) < 10_000

    assert len(read) == 3


@pytest.mark.usefixtures("database")
def test_a_request_of_the_greatest_size_is_answered(client: TestClient) -> None:
    """The bounds are the last that is let through."""
    answer = client.get(f"/ci-pipeline-datahub/api/v1/results?nvr={'a' * 255}", headers={"cookie": "a" * 20_000})

    assert answer.status_code == 200
