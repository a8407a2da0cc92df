"""Nothing is shown to, and nothing is done for, who may not."""

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Mount

from ci_pipeline import dead_letters, store
from ci_pipeline.intake import Intake
from ci_pipeline.settings import Settings
from ci_pipeline.store.tables import Inbound
from ci_pipeline.ui.access import Viewer
from tests.makers import new_run, received
from tests.ui.conftest import Login

pytestmark = pytest.mark.usefixtures("database")

PATHS = ["", "images", "bus", "change/f26/1", "change?key=x", "static/pages.css", "static/live.js", "nothing-is-here"]
SAME_SITE = {"sec-fetch-site": "same-origin"}
PRIVATE = "a-package-nobody-may-know"


def dead_letter(current: Settings) -> str:
    """Return the number of a dead letter."""
    Intake(current, trigger_run_id="x").record([received(b"no json")])
    with store.session() as session:
        return dead_letters.listed(session, limit=1)[0].id


def state_of(letter: str) -> str:
    """Return the state of a message."""
    with store.session() as session:
        return session.get_one(Inbound, int(letter)).state


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Return the method and path of every route of the pages, with something in the place of parameters."""
    (mount,) = [route for route in app.routes if isinstance(route, Mount)]
    found = []
    for route in mount.app.routes:
        assert isinstance(route, APIRoute), f"{route}: not a route that asks who is there"
        path = "/ci-pipeline" + route.path.replace("{key:path}", "f26/1").replace("{", "").replace("}", "")
        found += [(method, path) for method in route.methods]
    return found


def test_every_route_asks_who_is_there(app: FastAPI, client: TestClient, login: Login) -> None:
    """A route that answers a stranger is open: this walks all there are, those to come as well."""
    login.who = None
    for method, path in routes(app):
        answer = client.request(method, path, headers={"accept": "*/*"})

        assert answer.status_code == 401, f"{method} {path} is open"
        assert answer.json() == {"detail": "Not authenticated"}


def test_every_route_refuses_who_may_not_read(app: FastAPI, client: TestClient, login: Login) -> None:
    """With a page that says so, and nothing else."""
    new_run(PRIVATE)
    login.who = "stranger"
    for method, path in routes(app):
        answer = client.request(method, path)

        assert answer.status_code == 403, f"{method} {path} is open"
        assert PRIVATE not in answer.text


@pytest.mark.parametrize("path", [path for path in PATHS if path != "nothing-is-here"])
def test_a_browser_without_a_session_is_led_to_the_login_and_back(client: TestClient, login: Login, path: str) -> None:
    """To Airflow's own; `next` is where it was."""
    login.who = None

    answer = client.get(f"/ci-pipeline/{path}")

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/api/v2/auth/login?next=%2Fci-pipeline%2F")
    assert answer.headers["cache-control"] == "no-store"


def test_where_it_was_is_kept_with_its_parameters(client: TestClient, login: Login) -> None:
    """A filter survives the login."""
    login.who = None

    answer = client.get("/ci-pipeline/bus?state=dead&package=a%26b")

    assert answer.headers["location"].endswith("next=%2Fci-pipeline%2Fbus%3Fstate%3Ddead%26package%3Da%2526b")


def test_the_script_that_refetches_is_not_led_to_the_login(client: TestClient, login: Login) -> None:
    """A fetch gets 401, so that the page can reload as a whole."""
    login.who = None

    answer = client.get("/ci-pipeline/", headers={"sec-fetch-mode": "cors"})

    assert answer.status_code == 401


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_forbids_foreign_and_inline_code(client: TestClient, path: str) -> None:
    """Also errors, redirects and files."""
    answer = client.get(f"/ci-pipeline/{path}")
    policy = answer.headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in answer.text
    assert " style=" not in answer.text
    assert " onclick=" not in answer.text


def test_replay_needs_the_permission_to_trigger(client: TestClient, login: Login, current: Settings) -> None:
    """Who may only read is refused, and sees no button."""
    letter = dead_letter(current)
    login.who = Viewer("reader", may_act=False)

    answer = client.post(f"/ci-pipeline/bus/dead/{letter}/replay", headers=SAME_SITE)

    assert answer.status_code == 403
    assert "permission to trigger" in answer.text
    assert "<button" not in client.get("/ci-pipeline/bus").text.split("<main")[1].split("Ledger")[0]
    assert state_of(letter) == "dead"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "http://testserver"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"referer": "http://testserver/ci-pipeline/bus"},
    ],
)
def test_a_form_of_another_site_does_nothing(client: TestClient, current: Settings, headers: dict[str, str]) -> None:
    """The cookie comes along with it; where it comes from tells."""
    letter = dead_letter(current)

    answer = client.post(f"/ci-pipeline/bus/dead/{letter}/replay", headers=headers)

    assert answer.status_code == 403
    assert "did not come from" in answer.text


@pytest.mark.parametrize(
    "headers",
    [SAME_SITE, {"origin": "http://testserver"}, {"authorization": "Bearer token"}],
)
def test_a_form_of_ours_and_a_program_replay(client: TestClient, current: Settings, headers: dict[str, str]) -> None:
    """Browsers that do not say the site say the origin; a program sends its token in a header."""
    letter = dead_letter(current)

    answer = client.post(f"/ci-pipeline/bus/dead/{letter}/replay", headers=headers)

    assert answer.status_code == 200
    assert f"message {letter} is still dead" in answer.text


def test_a_letter_that_is_none_is_said(client: TestClient) -> None:
    """As a sentence, with a status that is no success."""
    answer = client.post("/ci-pipeline/bus/dead/99/replay", headers=SAME_SITE)

    assert answer.status_code == 409
    assert "no dead letter" in answer.text
