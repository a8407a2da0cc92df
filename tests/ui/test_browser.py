"""The pages in a real browser: readable, usable with the keyboard, live with JavaScript and whole without it."""

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from ci_pipeline import store
from ci_pipeline.executors.report import Report
from ci_pipeline.intake import Intake
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE, STAGES
from ci_pipeline.store import runs
from tests.makers import new_run, play, pushed, received
from tests.ui.browser import audit, chromium, served

pytestmark = pytest.mark.usefixtures("database")

PATHS = ("", "images", "bus", "change/f26/1", "change/f26/2", "change/greeter-1.0-1.fc26", "change/nothing")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with chromium() as started:
        yield started


@pytest.fixture
def address(app: FastAPI) -> Iterator[str]:
    """Where the pages are served."""
    with served(app) as url:
        yield f"{url}/ci-pipeline/"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A window that fails the test when the page breaks its own policy or its script fails."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened, complaints = context.new_page(), []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda told: complaints.append(told.text) if "Content Security" in told.text else None)
    yield opened
    context.close()

    assert not complaints


def fill(settings: Settings) -> None:
    """Store a bit of everything: green, red, running, dead, ignored, waiting, an image."""
    Intake(settings, trigger_run_id="x").record([pushed(), received(b"{"), pushed("nobodys")])
    green, red, running = runs_of("greeter", "hostinfo", "greeter")
    play(settings, green, *[Status.SUCCESS] * len(STAGES))
    failed = {"name": "x" * 300, "outcome": "failed", "seconds": 1, "message": "y" * 3000}
    flaky = {"name": "flaky", "outcome": "passed-on-rerun", "seconds": 1, "message": "failed 1 of 2 times: no"}
    with store.session() as session:
        journal, row = Journal(session, settings), runs.locked(session, red.id)
        journal.begin_stage(row, BUILD_PACKAGE, 1)
        report = Report.model_validate(
            {"status": "FAILURE", "fault": Fault.INFRASTRUCTURE, "reason": "z" * 500, "tests": [failed, flaky]}
        )
        journal.finish_stage(row, BUILD_PACKAGE, 1, report, final=True)
        for run in (green, red):
            journal.finish_run(runs.locked(session, run.id))
    play(settings, running, Status.SUCCESS)


def runs_of(*repos: str) -> list[runs.Run]:
    """Return the pushed run and new ones."""
    with store.session() as session:
        first = runs.get(session, "f26/1")
    return [first, *(new_run(repo, rev=f"{number}" * 40) for number, repo in enumerate(repos[1:], 1))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_every_page_is_readable_by_eye_and_by_ear(
    browser: Browser, address: str, current: Settings, scheme: str, width: int
) -> None:
    """Landmarks, headings, labels, captions, contrast; in light and dark, wide and narrow."""
    fill(current)
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = context.new_page()
    for path in PATHS:
        opened.goto(address + path)
        opened.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")

        assert audit(opened) == [], path
    context.close()


def test_the_audit_finds_what_is_wrong(page: Page, address: str) -> None:
    """It would not be worth much otherwise."""
    page.goto(address)
    page.evaluate(
        """() => {
          document.querySelector('main').innerHTML =
            '<h3>x</h3><table><tr><th>x</th></tr></table><input><a href="#nowhere">x</a><p id="key" class="pale">x</p>';
          document.querySelector('.pale').style.color = '#999999';
        }"""
    )
    found = " ".join(audit(page))

    for problem in (
        "not one h1",
        "left out",
        "no caption",
        "no scope",
        "no label",
        "leads nowhere",
        "contrast",
        "twice",
    ):
        assert problem in found


def test_a_page_follows_what_happens_and_keeps_focus_and_folds(page: Page, address: str, current: Settings) -> None:
    """A change that moves shows without a reload; whoever was on a link still is."""
    fill(current)
    page.goto(f"{address}change/f26/3")
    outputs = page.locator("details[id^=outputs-]").first
    outputs.locator("summary").click()
    page.locator("#stage-build_package").focus()
    with store.session() as session:
        run = runs.get(session, "f26/3")
    page.evaluate("window.notReloaded = true")
    play(current, run, Status.SUCCESS, first=1)

    expect(page.locator("#stage-functional_tests")).to_be_visible(timeout=30_000)
    expect(page.locator("#stage-build_package")).to_be_focused()
    expect(outputs).to_have_attribute("open", "")
    assert page.evaluate("window.notReloaded")


def test_who_types_is_not_disturbed(page: Page, address: str, current: Settings) -> None:
    """What is in the filter stays there until it is sent."""
    page.goto(address)
    with page.expect_response(lambda answer: answer.request.resource_type == "fetch", timeout=30_000):
        page.locator("#filter-package").fill("gree")
    fill(current)
    with page.expect_response(lambda answer: answer.request.resource_type == "fetch", timeout=30_000):
        pass

    expect(page.locator("#filter-package")).to_have_value("gree")
    expect(page.locator("#filter-package")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/?branch=&package=gree&status=")
    expect(page.locator("main")).to_contain_text("rpms/greeter")


def test_live_updates_can_be_paused(page: Page, address: str) -> None:
    """Who reads slowly decides when the page changes."""
    page.goto(address)
    button = page.locator("#live-toggle")
    button.click()

    expect(button).to_have_attribute("aria-pressed", "true")
    expect(button).to_have_text("Resume live updates")


def test_everything_can_be_reached_with_the_keyboard(page: Page, address: str, current: Settings) -> None:
    """The first stop skips the navigation; every stop is seen."""
    fill(current)
    page.goto(address)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        reached.add(page.evaluate("document.activeElement.id"))
        assert outline != "none" or page.evaluate("document.activeElement === document.body")

    assert {"filter-branch", "filter-package", "filter-show", "change-f26/3", "run-f26/3"} <= reached


def test_the_pages_work_without_javascript(browser: Browser, address: str, current: Settings) -> None:
    """Filter, search, permalink and replay are links and forms."""
    fill(current)
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(address)
    opened.locator("#filter-package").fill("host")
    opened.locator("#filter-show").click()
    expect(opened.locator("tbody tr")).to_have_count(1)
    opened.locator("#key").fill("greeter-1.0-1.3.35fdde9.fc26")
    opened.locator("#key").press("Enter")
    expect(opened.locator("h1")).to_have_text(re.compile(r"^(Which one\?|rpms/greeter)"), use_inner_text=True)
    opened.goto(f"{address}bus")
    opened.locator("#replay-2").click()

    expect(opened.locator("main")).to_contain_text("message 2 is still dead")
    context.close()


def test_a_frame_of_airflows_is_left_by_links_to_airflow(
    page: Page, address: str, app: FastAPI, current: Settings
) -> None:
    """Airflow's frame may not navigate the window: our script asks the window to go there itself."""
    fill(current)

    @app.get("/around")
    def around() -> object:
        from starlette.responses import HTMLResponse  # noqa: PLC0415 - used here alone

        return HTMLResponse(
            '<iframe sandbox="allow-scripts allow-same-origin allow-forms" width="1200" height="800"'
            ' src="/ci-pipeline/"></iframe>'
        )

    page.goto(address.replace("/ci-pipeline/", "/around"))
    page.frame_locator("iframe").locator("[id='run-f26/2']").click()

    page.wait_for_url("**/dags/ci-pipeline-f26/runs/**")
