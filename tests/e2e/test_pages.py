"""The pages on the real stack: behind Airflow's login, in Airflow's own frame, acting on the real ledger."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from ci_pipeline.settings import Settings
from ci_pipeline.store.tables import Inbound, Run
from tests.distgit import DistGit, package
from tests.e2e.conftest import Bus, token_of, wait_until
from tests.e2e.test_a_change import push, run_of
from tests.ui.browser import audit, chromium, log_in

BROWSING = {"accept": "text/html"}


@pytest.fixture
def stranger(pipeline: Settings) -> Iterator[httpx.Client]:
    """A client that nobody is signed in with."""
    with httpx.Client(base_url=pipeline.airflow.url, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
def signed_in(pipeline: Settings, stranger: httpx.Client) -> httpx.Client:
    """The client, with the cookie that Airflow's UI gets."""
    stranger.cookies.set("_token", token_of(stranger, pipeline))
    return stranger


@pytest.fixture(scope="module")
def red_rev(bus: Bus, distgit: DistGit) -> str:
    """A change that builds, and whose functional test fails; its run has ended."""
    rev = distgit.commit("greeter", package("greeter", "6.0", run="'false'"))
    push(bus, Path(__file__).parents[1] / "data" / "messages", "greeter", rev)
    bus.wait_for("complete", rev)
    return rev


@pytest.fixture
def red(red_rev: str) -> Run:
    """Its run."""
    return run_of(red_rev)


@pytest.fixture
def dead(bus: Bus, pipeline: Settings) -> int:
    """The number of a message that cannot be read."""
    bus.publish("org.fedoraproject.prod.git.receive", b'{"nothing": "we read"}')
    newest = select(Inbound.id).where(Inbound.state == "dead").order_by(Inbound.id.desc()).limit(1)
    number: int = wait_until(lambda session: session.scalar(newest), seconds=120, what="the dead letter")
    return number


@pytest.mark.parametrize("path", ["", "images", "bus", "change/f26/1", "static/pages.css"])
def test_without_a_session_nothing_is_shown(stranger: httpx.Client, path: str) -> None:
    """A program gets 401, a browser Airflow's login and then what it asked for; a token of no one is no session."""
    for cookies in ({}, {"_token": "nobody's"}):
        stranger.cookies = httpx.Cookies(cookies)
        program = stranger.get(f"/ci-pipeline/{path}")
        browser = stranger.get(f"/ci-pipeline/{path}", headers=BROWSING)

        assert program.status_code == 401
        assert browser.status_code == 303
        assert f"{browser.next_request.url}".split("next=")[1].startswith("%2Fci-pipeline%2F")


def test_a_change_is_shown_to_who_is_signed_in(signed_in: httpx.Client, red: Run, pipeline: Settings) -> None:
    """From its message to what was said, by its revision."""
    shown = signed_in.get(f"/ci-pipeline/change/{red.rev}", headers=BROWSING)

    assert shown.status_code == 200
    assert "Red because of the package: functional_tests: " in shown.text
    assert "ci.pipeline.complete" in shown.text
    assert f"{pipeline.artifacts.url}/fedora-atomic/f26/repo/builds/" in shown.text


def test_a_file_that_has_an_address_is_there(signed_in: httpx.Client, red: Run) -> None:
    """What the page links to can be fetched."""
    text = signed_in.get(f"/ci-pipeline/change/{red.run_id}", headers=BROWSING).text
    links = [part.split('"')[0] for part in text.split('data-file href="')[1:]]

    assert links
    assert {signed_in.head(link).status_code for link in links} == {200}


def test_replay_acts_for_our_pages_and_for_no_other(signed_in: httpx.Client, dead: int) -> None:
    """The session cookie alone is not enough: where the request comes from counts."""
    path = f"/ci-pipeline/bus/dead/{dead}/replay"

    assert signed_in.post(path).status_code == 403
    assert signed_in.post(path, headers={"origin": "https://evil.example"}).status_code == 403
    assert f"message {dead} is still dead" in signed_in.post(path, headers={"sec-fetch-site": "same-origin"}).text


def test_a_person_gets_from_the_run_to_the_reason_in_airflows_ui(pipeline: Settings, red: Run, dead: int) -> None:
    """Log in, land on the page; the tab of a run; the navigation; replay with a click."""
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        account = pipeline.airflow
        log_in(page, f"{account.url}/ci-pipeline/bus", account.username, account.password.get_secret_value())
        assert audit(page) == []
        page.click(f"#replay-{dead}")
        expect(page.locator("main")).to_contain_text(f"message {dead} is still dead")

        page.goto(f"{pipeline.airflow.url}/dags/{red.dag_id}/runs/{red.run_id}/plugin/ci-change")
        frame = page.frame_locator("iframe")
        expect(frame.locator("h1")).to_contain_text("rpms/greeter")
        expect(frame.locator(".answer")).to_contain_text("Red because of the package")

        page.goto(f"{pipeline.airflow.url}/plugin/ci-pipeline")
        frame.locator("a[data-airflow][id^=run-]").first.click()
        page.wait_for_url("**/dags/ci-pipeline-*/runs/*")
