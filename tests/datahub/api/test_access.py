"""Nothing is told to who may not read; with `datahub.anonymous` everyone may."""

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Mount

from ci_pipeline import settings
from ci_pipeline.datahub.api.app import ROUTERS
from tests.datahub.api.conftest import API, IMAGE, PREFIX
from tests.ui.conftest import Login

pytestmark = pytest.mark.usefixtures("told")

ANYTHING = {"branch": "f26", "number": "1", "stage": "build_package", "try_number": "1", "name": IMAGE}


def paths(app: FastAPI, method: str = "GET") -> list[str]:
    """Return the path of every route that takes a method, of something that is there."""
    (mount,) = [route for route in app.routes if isinstance(route, Mount)]
    routes = [route for route in mount.app.routes if isinstance(route, APIRoute)]
    assert len(routes) >= sum(len(router.routes) for router in ROUTERS)
    return [PREFIX + route.path_format.format(**ANYTHING) for route in routes if method in route.methods]


@pytest.mark.parametrize(("who", "status"), [(None, 401), ("stranger", 403)])
def test_every_route_asks_who_is_there(
    app: FastAPI, client: TestClient, login: Login, who: str | None, status: int
) -> None:
    """Those to come as well; a wrong parameter makes no difference, and nothing slips into the answer."""
    login.who = who
    asked = [("GET", path) for path in [*paths(app), f"{API}/results?nothing=1"]]
    for method, path in [*asked, *(("POST", path) for path in paths(app, "POST"))]:
        answer = client.request(method, path)

        assert answer.status_code == status, f"{path} is open"
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"
        assert "greeter" not in answer.text


def test_who_is_not_signed_in_is_told_how_to_be(client: TestClient, login: Login) -> None:
    """With a token, and in the header where programs look for it."""
    login.who = None
    answer = client.get(f"{API}/runs")

    assert "Authorization: Bearer TOKEN" in answer.json()["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


def test_everyone_may_read_where_the_settings_say_so(
    app: FastAPI, client: TestClient, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every route, without asking who is there."""
    monkeypatch.setenv("CI_PIPELINE_DATAHUB__ANONYMOUS", "true")
    settings.current.cache_clear()
    login.who = None

    assert {client.get(path).status_code for path in paths(app)} == {200}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed(app: FastAPI, client: TestClient, method: str) -> None:
    """What is read is only read; a waiver is added, and none is changed or removed."""
    for path in set(paths(app)) - set(paths(app, method)):
        answer = client.request(method, path)

        assert answer.status_code == 405
        assert "does not take that method" in answer.json()["detail"]


@pytest.mark.parametrize("path", [f"{API}/runs", f"{API}/runs?x=1", f"{API}/nothing", f"{API}/openapi.json"])
def test_every_answer_has_the_headers_that_keep_it_to_its_page(client: TestClient, path: str) -> None:
    """Errors, too; and no other site may read it."""
    answer = client.get(path, headers={"origin": "https://elsewhere.example"})

    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not [name for name in answer.headers if name.startswith("access-control-")]
