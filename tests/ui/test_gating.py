"""The page of a change shows how it stands before the gates, and lets those who may waive."""

import json
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, expect

from ci_pipeline import settings, store
from ci_pipeline.kind import Kind
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs
from ci_pipeline.ui.access import Viewer
from tests.gating.makers import FUNCTIONAL, NVR, POLICIES, PRODUCT, told, waive
from tests.makers import change, new_run, play
from tests.ui.browser import audit, chromium, served
from tests.ui.conftest import Login

pytestmark = pytest.mark.usefixtures("database")

SAME_SITE = {"sec-fetch-site": "same-origin"}
FIELDS = {
    "key": "f26/1",
    "subject_type": "koji_build",
    "subject_identifier": NVR,
    "product_version": PRODUCT,
    "testcase": FUNCTIONAL,
    "waived": "true",
    "comment": "a known bug",
}


@pytest.fixture
def gated(servers: object, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings with policies."""
    monkeypatch.setenv("CI_PIPELINE_POLICIES", json.dumps(POLICIES))
    settings.current.cache_clear()
    return settings.current()


@pytest.fixture
def red(gated: Settings) -> None:
    """A change whose functional tests failed."""
    play(gated, new_run(), Status.SUCCESS, Status.UNSTABLE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with chromium() as started:
        yield started


def shown(client: TestClient, path: str = "change/f26/1") -> str:
    """Return the page of the change."""
    return client.get(f"/ci-pipeline/{path}").text


def test_without_a_policy_there_is_no_gate(client: TestClient, current: Settings) -> None:
    """Nor a word of it."""
    play(current, new_run(), Status.SUCCESS)

    assert 'id="gating"' not in shown(client)


def test_a_side_run_stands_before_no_gate(client: TestClient, gated: Settings) -> None:
    """It decides nothing."""
    with store.session() as session:
        run = runs.create(session, change(), kind=Kind.BACKFILL)
    play(gated, run, Status.SUCCESS)

    assert 'id="gating"' not in shown(client)


@pytest.mark.usefixtures("red")
def test_the_decision_says_what_is_missing(client: TestClient) -> None:
    """With a form for each."""
    page = shown(client)

    assert "2 of 3 required tests did not pass: 1 failed, 1 missing" in page
    assert "by the results of f26/1" in page
    assert page.count('action="/ci-pipeline/waive"') == 2


@pytest.mark.usefixtures("red")
def test_who_may_only_read_sees_no_form_and_cannot_waive(client: TestClient, login: Login) -> None:
    """The page says what it takes."""
    login.who = Viewer("reader", may_act=False)
    page = shown(client)
    answer = client.post("/ci-pipeline/waive", data=FIELDS, headers=SAME_SITE)

    assert "/ci-pipeline/waive" not in page
    assert "needs the permission to trigger" in page
    assert answer.status_code == 403
    assert [row.event for row in told("waiver")] == []


@pytest.mark.usefixtures("red")
@pytest.mark.parametrize(
    "changed",
    [{"comment": " "}, {"testcase": "nothing"}, {"subject_type": "x"}, {"more": "x"}, {"comment": "a\x00"}],
)
def test_a_form_that_makes_no_sense_is_refused(client: TestClient, changed: dict[str, str]) -> None:
    """With a page that says why."""
    answer = client.post("/ci-pipeline/waive", data={**FIELDS, **changed}, headers=SAME_SITE)

    assert answer.status_code in {400, 409}
    assert "<h1>" in answer.text
    assert told("waiver") == []


@pytest.mark.usefixtures("red")
@pytest.mark.parametrize("body", [b"", b"\xff", b"nonsense", b"&".join(b"a=b" for _ in range(20)), b"x" * 60_000])
def test_what_is_no_form_is_refused(client: TestClient, body: bytes) -> None:
    """Whatever a program sends."""
    assert client.post("/ci-pipeline/waive", content=body, headers=SAME_SITE).status_code == 400


@pytest.mark.usefixtures("red")
def test_another_site_cannot_waive(client: TestClient) -> None:
    """Its form comes with the cookie, and from elsewhere."""
    answer = client.post("/ci-pipeline/waive", data=FIELDS, headers={"sec-fetch-site": "cross-site"})

    assert answer.status_code == 403
    assert told("waiver") == []


@pytest.mark.usefixtures("red")
def test_a_waiver_leads_back_to_the_change_and_is_listed_there(client: TestClient) -> None:
    """With who, why, and a way to take it back; never to an address that was sent."""
    answer = client.post("/ci-pipeline/waive", data={**FIELDS, "comment": "<b>known</b>"}, headers=SAME_SITE)
    astray = client.post("/ci-pipeline/waive", data={**FIELDS, "key": "//evil.example/"}, headers=SAME_SITE)
    page = shown(client)

    assert (answer.status_code, answer.headers["location"]) == (303, "/ci-pipeline/change/f26/1#gating")
    assert astray.headers["location"].startswith("/ci-pipeline/change/")
    assert "1 of 3 required tests did not pass: 1 missing" in page
    assert "&lt;b&gt;known&lt;/b&gt;" in page
    assert "Take back" in page
    assert page.count('name="waived" value="false"') == 1


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_gates_are_readable_and_usable_by_everyone(
    browser: Browser, app: FastAPI, gated: Settings, scheme: str, width: int
) -> None:
    """By eye, by ear and with the keyboard, before a waiver and after it."""
    play(gated, new_run(), Status.SUCCESS, Status.UNSTABLE)
    waive(gated, testcase="package", waived=False, why="y" * 900)
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    with served(app) as url:
        page.goto(f"{url}/ci-pipeline/change/f26/1")
        before = audit(page)
        page.get_by_label(f"Why waive {FUNCTIONAL}").fill("a known bug")
        page.keyboard.press("Enter")
        expect(page.locator("#waivers")).to_be_visible()
        expect(page.locator(".status.waived")).to_have_count(1)
        after = audit(page)
    context.close()

    assert (before, after) == ([], [])
