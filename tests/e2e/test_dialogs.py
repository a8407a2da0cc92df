"""Airflow's own dialogs, in a real browser: a change is triggered, and past revisions are run, by filling in a form."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import func, select

from ci_pipeline import store
from ci_pipeline.settings import Settings
from ci_pipeline.store.tables import Run
from tests.distgit import DistGit, package
from tests.e2e.conftest import wait_until
from tests.e2e.test_a_change import run_of
from tests.e2e.test_backfill import command, ended, going_on
from tests.ui.browser import chromium, log_in

WAIT = 60_000
# Of no other test: two packages with a commit in one second of this minute.
PAST = datetime(2025, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def dialog(pipeline: Settings) -> Iterator[Page]:
    """The trigger dialog of a branch's DAG, open in front of who is signed in."""
    expect.set_options(timeout=WAIT)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        page.set_default_timeout(WAIT)
        account = pipeline.airflow
        log_in(page, f"{account.url}/dags/ci-pipeline-f26", account.username, account.password.get_secret_value())
        page.get_by_role("button", name="Trigger").first.click()
        yield page


@pytest.fixture
def past(distgit: DistGit, pipeline: Settings, api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Revisions of two packages that were committed in one second, and whose build says no; the index knows them."""
    # Airflow takes one backfill of a DAG at a time.
    wait_until(lambda _: not going_on(api), seconds=120, what="the end of the backfill before")
    monkeypatch.setenv("GIT_COMMITTER_DATE", PAST.isoformat())
    revs = [distgit.commit(name, package(name, "0.8", check="exit 1")) for name in ("greeter", "hostinfo")]
    command("revisions", "import", "--branch", "f26")
    return revs


def number_of_runs() -> int:
    """Return how many runs there are."""
    with store.session() as session:
        return session.scalar(select(func.count()).select_from(Run)) or 0


def choose(page: Page, which: int, when: datetime) -> None:
    """Choose a date and a time in one of the dialog's two fields."""
    page.get_by_test_id("datetime-input").nth(which).click()
    page.get_by_placeholder("YYYY/MM/DD").last.fill(f"{when:%Y/%m/%d}")
    page.get_by_placeholder("HH:mm").last.fill(f"{when:%H:%M}")
    page.keyboard.press("Escape")


def test_a_change_is_triggered_by_filling_in_the_form(dialog: Page, distgit: DistGit) -> None:
    """Package and some digits of the revision are enough."""
    rev = distgit.commit("hostinfo", package("hostinfo", "7.1", check="exit 1"))
    dialog.locator("#element_repo").fill("hostinfo")
    dialog.locator("#element_rev").fill(rev[:10])
    dialog.get_by_test_id("trigger-dag-submit").click()
    run = ended(rev)

    assert (run_of(rev).id, run.kind, run.status) == (run.id, "manual", "FAILURE")


def test_a_wrong_value_is_refused_and_can_be_corrected(dialog: Page) -> None:
    """The form stays open with what was typed; there is no run."""
    before = number_of_runs()
    dialog.locator("#element_repo").fill("../hostinfo")
    with dialog.expect_response(lambda answer: answer.request.method == "POST") as answer:
        dialog.get_by_test_id("trigger-dag-submit").click()

    assert answer.value.status == 400
    expect(dialog.get_by_text("Failed to Trigger Dag")).to_be_visible()
    expect(dialog.locator("#element_repo")).to_have_value("../hostinfo")
    assert number_of_runs() == before


def test_past_revisions_are_run_by_choosing_their_dates(dialog: Page, past: list[str]) -> None:
    """The dialog tells how many there are; each gets its run, those of one second, too."""
    dialog.get_by_text("Run this Dag for a range of dates").click()
    choose(dialog, 0, PAST.replace(second=0))
    choose(dialog, 1, PAST.replace(second=0) + timedelta(minutes=1))
    expect(dialog.get_by_role("dialog").first).to_contain_text("2 runs will be triggered")
    dialog.get_by_role("button", name="Run Backfill").click()
    runs = [ended(rev) for rev in past]

    assert [(run.kind, run.status) for run in runs] == [("backfill", "FAILURE")] * 2
