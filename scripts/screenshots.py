"""Take the pictures of docs/operating.md anew, in a headless Chromium, of the demo as it runs: `make screenshots`."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Page
from sqlalchemy import select

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from ci_pipeline import settings, store  # noqa: E402 - the path has to come first
from ci_pipeline.outcome import Status  # noqa: E402
from ci_pipeline.store.tables import Run  # noqa: E402
from tests.ui.browser import chromium, log_in  # noqa: E402

FOLDER = PROJECT / "docs" / "images"
DAG = "ci-pipeline-f26"
# Airflow's pages fill themselves from its API after they have been loaded.
SETTLED = "networkidle"


def newest(status: Status) -> Run:
    """Return the newest run of the branch that ended so; the demo makes one of each it asks for."""
    with store.session() as session:
        run = session.scalar(select(Run).where(Run.dag_id == DAG, Run.status == status).order_by(Run.id.desc()))
    if run is None:
        sys.exit(f"no run of {DAG} ended {status}; run `make demo` first")
    return run


def pipeline(page: Page, url: str) -> None:
    """Show the matrix in Airflow's frame."""
    page.goto(f"{url}/plugin/ci-pipeline")
    page.frame_locator("iframe").locator("table").first.wait_for()


def change(page: Page, url: str) -> None:
    """Show a red change in the tab of its run."""
    run = newest(Status.FAILURE)
    page.goto(f"{url}/dags/{DAG}/runs/{run.run_id}/plugin/ci-change")
    page.frame_locator("iframe").locator(".answer").wait_for()


def images(page: Page, url: str) -> None:
    """Show the images."""
    page.goto(f"{url}/ci-pipeline/images")


def bus(page: Page, url: str) -> None:
    """Show the ledger."""
    page.goto(f"{url}/ci-pipeline/bus")


def run_page(page: Page, url: str) -> None:
    """Show a green run, its stages and its note."""
    page.goto(f"{url}/dags/{DAG}/runs/{newest(Status.SUCCESS).run_id}")
    page.get_by_text("generate_image").first.wait_for()


def links(page: Page, url: str) -> None:
    """Show the links of a stage."""
    page.goto(f"{url}/dags/{DAG}/runs/{newest(Status.SUCCESS).run_id}/tasks/compose_ostree/details")
    page.get_by_text("Package repository").first.wait_for()


def trigger(page: Page, url: str) -> None:
    """Fill the form in."""
    page.goto(f"{url}/dags/{DAG}")
    page.get_by_role("button", name="Trigger").first.click()
    page.locator("#element_repo").fill("greeter")
    page.locator("#element_rev").fill(newest(Status.SUCCESS).rev[:7])


def backfill(page: Page, url: str) -> None:
    """Choose all of today's revisions."""
    page.goto(f"{url}/dags/{DAG}")
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_text("Run this Dag for a range of dates").click()
    today = datetime.now(UTC).replace(hour=0, minute=0)
    for field, when in enumerate((today, today + timedelta(days=1))):
        page.get_by_test_id("datetime-input").nth(field).click()
        page.get_by_placeholder("YYYY/MM/DD").last.fill(f"{when:%Y/%m/%d}")
        page.get_by_placeholder("HH:mm").last.fill(f"{when:%H:%M}")
        page.keyboard.press("Escape")
    page.locator("input[value=completed]").check(force=True)
    page.get_by_text("will be triggered").wait_for()


PICTURES: dict[str, Callable[[Page, str], None]] = {
    "pipeline": pipeline,
    "change": change,
    "images": images,
    "bus": bus,
    "run": run_page,
    "links": links,
    "trigger": trigger,
    "backfill": backfill,
}


def main() -> None:
    """Take all of them."""
    account = settings.load().airflow
    FOLDER.mkdir(exist_ok=True)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 760}, color_scheme="light")
        log_in(page, f"{account.url}/ci-pipeline/bus", account.username, account.password.get_secret_value())
        for name, show in PICTURES.items():
            show(page, account.url)
            page.wait_for_load_state(SETTLED)
            page.screenshot(path=FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
