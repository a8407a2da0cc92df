"""Past revisions are run by Airflow's own backfill, and the branch stays as it is."""

import json
import sys
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from ci_pipeline import audit, store
from ci_pipeline.settings import Settings
from ci_pipeline.store import revisions, runs
from ci_pipeline.store.tables import Image, Revision, Run
from tests.e2e.conftest import PAST, Bus, wait_until
from tests.e2e.test_a_change import folder_of, run_tool
from tests.makers import EVENTS_OF_A_GOOD_RUN

# Of a run that goes well and promotes nothing.
EVENTS = [event for event in EVENTS_OF_A_GOOD_RUN if not event.startswith("image.")]


def command(*words: str) -> str:
    """Run our command line as an operator does, and return what it prints."""
    return run_tool(sys.executable, "-c", "from ci_pipeline.cli import main; main()", *words)


@pytest.fixture
def history(pipeline: Settings) -> dict[str, str]:
    """The revisions of the past, by package; the index knows them."""
    command("revisions", "import", "--branch", "f26")
    when = datetime.fromisoformat(PAST)
    with store.session() as session:
        rows = revisions.between(session, "f26", when, when + timedelta(seconds=1), limit=10)
    return {row.repo: row.rev for row in rows}


def state_of(pipeline: Settings) -> dict[str, object]:
    """Return what of a branch a run that promotes would move."""
    folder = folder_of(pipeline)
    with store.session() as session:
        images = session.scalars(select(Image.name).where(Image.branch == "f26")).all()
    return {
        "ref": run_tool("ostree", f"--repo={folder / 'ostree'}", "rev-parse", "fedora/f26/x86_64/atomic-host"),
        "last good": (folder / "repo" / "last-good").readlink(),
        "packages": sorted(rpm.name for rpm in (folder / "repo" / "last-good").resolve().rglob("*.rpm")),
        "newest builds": {link.name: link.readlink() for link in (folder / "repo").glob("*_repo")},
        "images": (sorted(path.name for path in (folder / "images").glob("*")), images),
        "latest": (folder / "images" / "latest.qcow2").readlink(),
    }


def ended(rev: str, number: int = 1) -> Run:
    """Return the newest run of a revision, once so many have ended."""
    query = select(Run).where(Run.rev == rev, Run.status.is_not(None)).order_by(Run.id)
    return wait_until(
        lambda session: session.scalars(query).all()[number - 1 : number], seconds=400, what=f"run {number} of {rev}"
    )[0]


def would_run(api: httpx.Client, backfill: dict[str, str]) -> list[str]:
    """Return the partition keys of the runs that a backfill would make."""
    found = api.post("/api/v2/backfills/dry_run", json=backfill).raise_for_status().json()
    return [one["partition_key"] for one in found["backfills"]]


def going_on(api: httpx.Client) -> list[int]:
    """Return the backfills of f26 that Airflow has not completed."""
    found = api.get("/api/v2/backfills", params={"dag_id": "ci-pipeline-f26"}).json()["backfills"]
    return [one["id"] for one in found if one["completed_at"] is None]


@pytest.mark.usefixtures("good")
def test_a_backfill_runs_what_is_known_and_moves_nothing(
    pipeline: Settings, bus: Bus, history: dict[str, str], api: httpx.Client
) -> None:
    """Two revisions of one second get a run each, the whole way to their integration tests; then there is none left."""
    before = state_of(pipeline)
    span = ["--dag-id", "ci-pipeline-f26", "--from-date", PAST, "--to-date", PAST]
    command("airflow", "backfill", "create", *span)
    made = {name: ended(rev) for name, rev in history.items()}

    assert set(made) == {"greeter", "hostinfo"}
    for name, run in made.items():
        messages = [one for one in bus.wait_for("complete", run.rev) if one["body"]["build_id"] == str(run.number)]
        with store.session() as session:
            results = runs.latest_results(session, run.id)

        assert run.kind == "backfill"
        assert (name, run.status, run.reason) == (name, "SUCCESS", "")
        assert [one["topic"].rpartition(".pipeline.")[2] for one in messages] == EVENTS
        assert {one["body"]["ref"] for one in messages} == {f"candidate/f26/{run.number}"}
        assert {one["kind"] for one in messages} == {"backfill"}
        assert results["integration_tests"].outputs["promoted"] is False
        assert results["compose_ostree"].outputs["parent_rev"] == before["ref"]
        assert "never promoted" in results["generate_image"].reason
    assert state_of(pipeline) == before
    body = {"dag_id": "ci-pipeline-f26", "from_date": PAST, "to_date": PAST, "reprocess_behavior": "none"}
    assert would_run(api, body) == []
    again = {**body, "reprocess_behavior": "completed"}
    # A run has ended for us before it has for Airflow.
    wait_until(lambda _: len(would_run(api, again)) == 2, seconds=60, what="that both can be run again")
    assert audit.audit().findings == ()


def test_a_backfill_passes_over_what_was_pushed_and_ran(good: list[dict[str, Any]], api: httpx.Client) -> None:
    """The run that its push started has the revision's date."""
    rev = good[0]["body"]["rev"]
    with store.session() as session:
        when = session.scalars(select(Revision).where(Revision.rev == rev)).one().committed_at.isoformat()
    body = {"dag_id": "ci-pipeline-f26", "from_date": when, "to_date": when, "reprocess_behavior": "none"}

    assert would_run(api, body) == []
    again = {**body, "reprocess_behavior": "completed"}
    # A run has ended for us before it has for Airflow.
    wait_until(lambda _: would_run(api, again) == [f"rpms/greeter@{rev}"], seconds=60, what="that it can be run again")


def test_a_range_nobody_pushed_in_is_refused(api: httpx.Client) -> None:
    """With a sentence, and no backfill is left behind."""
    # Airflow calls a backfill completed some time after its last run has ended, and has one at a time.
    wait_until(lambda _: not going_on(api), seconds=120, what="the end of the backfill before")
    body = {"dag_id": "ci-pipeline-f26", "from_date": "1999-01-01T00:00:00Z", "to_date": "1999-01-02T00:00:00Z"}
    answer = api.post("/api/v2/backfills", json=body)

    assert answer.status_code == 422
    assert "No runs to create" in answer.text
    assert not going_on(api)


@pytest.mark.parametrize("key", ["x", "rpms/../x@" + "0" * 40, "rpms/greeter@" + "9" * 40])
def test_a_partition_key_that_names_no_known_revision_is_refused(api: httpx.Client, key: str) -> None:
    """By the API, before there is a run."""
    body = {"logical_date": None, "partition_key": key}

    assert api.post("/api/v2/dags/ci-pipeline-f26/dagRuns", json=body).status_code == 400


def test_chosen_revisions_are_shown_before_they_are_run(history: dict[str, str]) -> None:
    """By their first digits; what has run is passed over, unless it is asked for."""
    chosen = ["backfill", "rpms/greeter", "--branch", "f26", "--from", history["greeter"][:12], "--to"]
    shown = json.loads(command(*chosen, history["greeter"], "--again", "all", "--dry-run", "--json"))

    assert [one["change"]["rev"] for one in shown] == [history["greeter"]]
