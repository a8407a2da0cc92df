"""The datahub's API as Airflow gets it: mounted beside the pages, behind the same login."""

import pytest
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient

from operators import pages, ui_access

RUNS = "/ci-pipeline-datahub/api/v1/runs"

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Everything that the plugin has Airflow mount, with Airflow's own simple login on no database."""
    monkeypatch.setattr(ui_access, "get_auth_manager", SimpleAuthManager)
    monkeypatch.setattr(ui_access.DagModel, "get_dag_id_to_team_name_mapping", lambda _: {})
    outer = FastAPI()
    for one in pages.fastapi_apps():
        outer.mount(one["url_prefix"], one["app"])
    return TestClient(outer)


@pytest.mark.parametrize(("role", "status"), [(None, 403), ("VIEWER", 200), ("ADMIN", 200)])
def test_who_may_read_the_dags_may_read(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, role: str | None, status: int
) -> None:
    """As with the pages; a program brings its token in a header."""
    tokens = []

    async def user(_request: object, _oauth: object, bearer: object) -> SimpleAuthManagerUser:
        tokens.append(bearer.credentials)
        return SimpleAuthManagerUser(username="someone", role=role)

    monkeypatch.setattr(ui_access, "get_user", user)
    answer = client.get(RUNS, headers={"authorization": "Bearer ours"})

    assert (answer.status_code, tokens) == (status, ["ours"])


def test_a_token_that_is_no_good_is_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a problem that says how to get a good one."""

    async def refuse(*_: object) -> None:
        raise HTTPException(403, "Invalid JWT token")

    monkeypatch.setattr(ui_access, "get_user", refuse)
    answer = client.get(RUNS, headers={"authorization": "Bearer x"})

    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.json()["detail"].startswith("Invalid JWT token: send a token of Airflow")
