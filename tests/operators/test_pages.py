"""The pages as Airflow gets them: who may what, and what the plugin costs those who do not need it."""

import asyncio
import subprocess
import sys

import pytest
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import HTTPException
from starlette.requests import Request

from ci_pipeline import settings
from operators import pages, ui_access


@pytest.fixture(autouse=True)
def _auth_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's own simple one, on no database: there are no teams."""
    monkeypatch.setattr(ui_access, "get_auth_manager", SimpleAuthManager)
    monkeypatch.setattr(ui_access.DagModel, "get_dag_id_to_team_name_mapping", lambda _: {})


def request(**headers: str) -> Request:
    """Return a request."""
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw, "query_string": b""})


def sign_in(monkeypatch: pytest.MonkeyPatch, role: str | None) -> None:
    """Let everyone be someone of a role."""

    async def user(*_: object) -> SimpleAuthManagerUser:
        return SimpleAuthManagerUser(username="someone", role=role)

    monkeypatch.setattr(ui_access, "get_user", user)


@pytest.mark.parametrize(("role", "may_act"), [("VIEWER", False), ("USER", True), ("OP", True), ("ADMIN", True)])
def test_who_may_read_sees_and_who_may_trigger_acts(
    monkeypatch: pytest.MonkeyPatch, role: str, *, may_act: bool
) -> None:
    """As Airflow's own roles have it."""
    sign_in(monkeypatch, role)
    viewer = asyncio.run(ui_access.find_viewer(request()))

    assert (viewer.name, viewer.may_act) == ("someone", may_act)


def test_who_may_not_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a role is signed in, and sees nothing."""
    sign_in(monkeypatch, None)
    with pytest.raises(HTTPException) as refused:
        asyncio.run(ui_access.find_viewer(request()))

    assert refused.value.status_code == 403


def test_a_dag_that_is_kept_from_someone_keeps_the_pages_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """They show all branches together."""
    sign_in(monkeypatch, "ADMIN")
    asked = []

    def all_but_rawhide(_: object, *, details: object, **__: object) -> bool:
        asked.append(details.id)
        return details.id != "ci-pipeline-rawhide"

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", all_but_rawhide)
    with pytest.raises(HTTPException) as refused:
        asyncio.run(ui_access.find_viewer(request()))

    assert refused.value.status_code == 403
    assert {"ci-pipeline-trigger", "ci-pipeline-f26", "ci-pipeline-rawhide"} <= set(asked)


def test_a_token_that_is_no_good_is_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow says 403 to a token it did not sign; a browser has to be led to the login."""

    async def refuse(*_: object) -> None:
        raise HTTPException(403, "Invalid JWT token")

    monkeypatch.setattr(ui_access, "get_user", refuse)
    with pytest.raises(HTTPException) as refused:
        asyncio.run(ui_access.find_viewer(request(authorization="Bearer x")))

    assert refused.value.status_code == 401


def test_only_who_is_asked_for_a_page_makes_them() -> None:
    """Every task's process loads the plugins: it must not pay for the api-server's parts."""
    folder = settings.project_folder() / "plugins"
    ours = "'operators.ui_access', 'ci_pipeline.ui.app', 'ci_pipeline.datahub.api.app'"
    heavy = f"{{{ours}, 'airflow.api_fastapi.core_api.security'}}"
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); import ci_pipeline_plugin; print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)

    assert done.stdout.splitlines()[-1] == "set()"


def test_the_places_in_the_ui_are_below_airflow_wherever_it_is() -> None:
    """No address begins with a slash, and the tab names the run and its DAG."""
    views = pages.external_views()

    assert {view["destination"] for view in views} == {"nav", "dag_run"}
    assert all(view["href"].startswith("ci-pipeline/") for view in views)
    assert len({view["url_route"] for view in views}) == len(views)
    assert views[-1]["href"] == "ci-pipeline/change/{RUN_ID}?dag={DAG_ID}"
