"""Backfilling by revision: which revisions get a run, and which do not."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from ci_pipeline import intake, store
from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.backfill import Again, Entry, backfill
from ci_pipeline.errors import SettingsError, StoreError
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.store import revisions, runs
from ci_pipeline.store.revisions import Place
from tests.makers import change, new_run, play

pytestmark = pytest.mark.usefixtures("database")
PLACE = Place("rpms", "greeter", "f26")
REVS = [f"{number}" * 40 for number in range(4)]
OK = Status.SUCCESS


@pytest.fixture(autouse=True)
def airflow(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What an api-server was asked to start; the real one is in tests/e2e."""
    bodies: list[dict[str, object]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        bodies.append(httpx.Response(200, content=request.content).json())
        return httpx.Response(200)

    transport = httpx.MockTransport(handle)
    monkeypatch.setattr(intake, "AirflowApi", lambda settings: AirflowApi(settings, transport=transport))
    return bodies


@pytest.fixture
def known() -> None:
    """Four revisions of greeter, and one of another package."""
    with store.session() as session:
        for day, rev in enumerate(REVS):
            revisions.add(session, change(rev=rev), datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=day))
        revisions.add(session, change("hostinfo"), datetime(2026, 11, 2, tzinfo=UTC))


def run_last(current: Settings, number: int = 4, **options: object) -> list[Entry]:
    """Backfill the newest revisions."""
    return backfill(current, PLACE, lambda session: revisions.newest_of(session, PLACE, limit=number), **options)


def end(current: Settings, rev: str, status: Status) -> None:
    """Let a revision have run, and end so."""
    run = new_run(rev=rev)
    play(current, run, status)
    with store.session() as session:
        runs.mark_fired(session, run.id)
        row = runs.locked(session, run.id)
        row.status, row.ended_at = status, datetime.now(UTC)


@pytest.mark.usefixtures("known")
def test_each_chosen_revision_gets_a_side_run(current: Settings, airflow: list[dict[str, object]]) -> None:
    """The oldest first, and Airflow is told which revision it is."""
    entries = run_last(current, 2)
    with store.session() as session:
        kinds = {runs.get(session, entry.run).kind for entry in entries}

    assert [entry.change.rev for entry in entries] == REVS[2:]
    assert kinds == {"backfill"}
    assert [body["partition_key"] for body in airflow] == [f"rpms/greeter@{rev}" for rev in REVS[2:]]
    assert all(str(body["note"]).endswith(", backfill") for body in airflow)


@pytest.mark.usefixtures("known")
def test_what_is_asked_for_of_a_backfill_is_asked_of_each_of_its_runs(current: Settings) -> None:
    """Nothing of one that asks for nothing."""
    first = run_last(current, 1)
    anew = run_last(current, 3, options={"reuse": "never"})
    with store.session() as session:
        options = [runs.get(session, entry.run).options for entry in (*first, *anew) if entry.run]

    assert options == [{}, {"reuse": "never"}, {"reuse": "never"}]


@pytest.mark.usefixtures("known")
def test_again_makes_nothing_while_they_go_on(current: Settings) -> None:
    """Whatever is to be run again."""
    first = run_last(current, 1)
    again = run_last(current, 1, again=Again.ALL)

    assert again == [Entry(first[0].change, skipped="run f26/1 of it has not ended")]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("again", "expected"), [(Again.NONE, [3]), (Again.FAILED, [1, 2, 3]), (Again.ALL, [0, 1, 2, 3])]
)
def test_what_has_run_is_run_again_as_asked_for(current: Settings, again: Again, expected: list[int]) -> None:
    """By the end of its newest run, whatever that was for."""
    for rev, status in zip(REVS, (OK, Status.UNSTABLE, Status.FAILURE), strict=False):
        end(current, rev, status)
    entries = run_last(current, again=again)

    assert [REVS.index(entry.change.rev) for entry in entries if entry.run] == expected
    assert all(entry.skipped.startswith("run f26/") for entry in entries if not entry.run)


@pytest.mark.usefixtures("known")
def test_a_change_that_was_superseded_before_it_ran_is_run(current: Settings) -> None:
    """Nobody has ever seen it run."""
    run = new_run(rev=REVS[3])
    with store.session() as session:
        row = runs.locked(session, run.id)
        row.status, row.ended_at = "ABORTED", datetime.now(UTC)

    assert run_last(current, 1)[0].run


@pytest.mark.usefixtures("known")
def test_a_dry_run_makes_nothing(current: Settings, airflow: list[dict[str, object]]) -> None:
    """And says the same."""
    entries = run_last(current, dry_run=True)
    with store.session() as session:
        assert runs.recent(session) == []
    assert entries == [Entry(change(rev=rev)) for rev in REVS]
    assert airflow == []


def test_a_package_nobody_knows_is_refused(current: Settings) -> None:
    """With what to do."""
    with pytest.raises(StoreError, match="no revision of rpms/greeter on f26 is known; `ci-pipeline revisions import`"):
        run_last(current)


def test_a_branch_without_a_pipeline_is_refused(current: Settings) -> None:
    """With those there are."""
    with pytest.raises(SettingsError, match="branch f99 has no pipeline"):
        backfill(current, Place("rpms", "greeter", "f99"), lambda _: [])
