"""The reconciler: what Airflow calls ended and the journal does not. Real endings are in tests/e2e/test_endings.py."""

import json
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from ci_pipeline import cancel, reconcile, settings, store
from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.errors import AirflowUnreachable, StoreError
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import FUNCTIONAL_TESTS
from ci_pipeline.store import host_leases, outbox, runs
from ci_pipeline.store.tables import Run
from tests.makers import new_run, play
from tests.manifests.conftest import Shop, shop

__all__ = ["shop"]
pytestmark = pytest.mark.usefixtures("database")
Says = Callable[..., None]


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Says:
    """What Airflow says: the run's state (None: deleted), a state per task, and who marked something by hand."""
    answers: dict[str, object] = {}

    def says(state: str | None, tasks: dict[str, str] | None = None, who: str = "") -> None:
        answers.update(state=state, tasks=tasks or {}, who=who, extra=json.dumps({"new_state": "failed"}))

    def handle(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        if path.endswith("/taskInstances"):
            tasks = [{"task_id": name, "state": state} for name, state in dict(answers["tasks"]).items()]
            return httpx.Response(200, json={"task_instances": tasks})
        if path.endswith("/eventLogs"):
            return httpx.Response(
                200,
                json={"event_logs": [{"owner": answers["who"], "extra": answers["extra"]}] if answers["who"] else []},
            )
        if answers["state"] is None:
            return httpx.Response(404)
        return httpx.Response(200, json={"state": answers["state"]})

    transport = httpx.MockTransport(handle)
    for module in (reconcile, cancel):
        monkeypatch.setattr(module, "AirflowApi", lambda settings: AirflowApi(settings, transport=transport))
    return says


@pytest.fixture
def begun(current: Settings) -> Run:
    """A run whose functional tests have begun and have no end."""
    run = new_run()
    play(current, run, Status.SUCCESS)
    with store.session() as session:
        row = runs.locked(session, run.id)
        runs.mark_fired(session, run.id)
        Journal(session, current).begin_stage(row, FUNCTIONAL_TESTS, 1)
    return run


def how_it_ended(run: Run) -> tuple[str | None, str | None, list[str]]:
    """Return the status of the functional tests and of the run, and what was said last."""
    with store.session() as session:
        row = runs.locked(session, run.id)
        stage = runs.latest_results(session, run.id)["functional_tests"].status
        return stage, row.status, [f"{m.event} {m.body['status']}" for m in outbox.messages(session, run=run.id)][-2:]


def test_airflow_that_is_away_is_said(current: Settings, begun: Run) -> None:
    """Nothing is guessed of a run that cannot be looked at."""
    away = current.model_copy(update={"airflow": current.airflow.model_copy(update={"url": "http://127.0.0.1:9"})})

    with pytest.raises(AirflowUnreachable):
        reconcile.reconcile(away)

    assert how_it_ended(begun)[:2] == (None, None)


@pytest.mark.parametrize(
    ("state", "task", "who", "status"),
    [
        ("failed", "failed", "", "FAILURE"),  # its process was killed
        ("failed", "failed", "admin", "ABORTED"),  # marked in the UI
        ("success", "success", "admin", "ABORTED"),  # marked success: no evidence of one
        ("failed", "skipped", "", "ABORTED"),  # the run's time limit
        ("failed", "removed", "", "ABORTED"),
    ],
)
def test_an_ended_run_is_closed_for_what_ended_it(
    current: Settings, airflow: Says, begun: Run, state: str, task: str, who: str, status: str
) -> None:
    """The stage's `complete`, because its `running` went out, and the run's."""
    airflow(state, {"functional_tests": task}, who)
    mended = reconcile.reconcile(current)

    assert how_it_ended(begun) == (
        status,
        status,
        [f"package.test.functional.complete {status}", f"complete {status}"],
    )
    assert len(mended) == 2
    assert reconcile.reconcile(current) == []


def test_a_lost_stage_of_a_run_that_goes_on_is_closed_alone(current: Settings, airflow: Says, begun: Run) -> None:
    """The run's own end comes by itself."""
    airflow("running", {"functional_tests": "failed", "complete": "scheduled"})
    reconcile.reconcile(current)

    assert how_it_ended(begun)[:2] == ("FAILURE", None)


def test_a_manifest_that_was_not_written_is(current: Settings, airflow: Says, shop: Shop) -> None:
    """The task `complete` was killed before it could."""
    airflow("success")
    run = shop.good_run()
    mended = reconcile.reconcile(settings.current())

    assert [(one.run, one.what) for one in mended] == [
        (run.run_id, f"{shop.image.name} is validated: its manifest is written")
    ]
    assert shop.manifest.is_file()
    assert reconcile.reconcile(settings.current()) == []


@pytest.mark.parametrize("task", ["running", "queued", "up_for_retry", "deferred", ""])
def test_a_stage_that_still_runs_is_left_alone(current: Settings, airflow: Says, begun: Run, task: str) -> None:
    """Or waits for its next try."""
    airflow("running", {"functional_tests": task})

    assert reconcile.reconcile(current) == []
    assert how_it_ended(begun)[:2] == (None, None)


def test_a_deleted_run_is_closed(current: Settings, airflow: Says, begun: Run) -> None:
    """Airflow knows nothing of it any more."""
    airflow(None)
    reconcile.reconcile(current)

    assert how_it_ended(begun)[:2] == ("ABORTED", "ABORTED")


def test_a_run_that_waits_to_be_fired_can_be_cancelled(current: Settings) -> None:
    """Airflow is not asked: it has not heard of it."""
    run = new_run()
    cancel.cancel(current, run.run_id)
    with store.session() as session:
        row = runs.get(session, run.run_id)
        waiting = runs.not_fired(session)

    assert (row.status, row.reason) == ("ABORTED", "cancelled before it began")
    assert waiting == []


def test_a_run_that_has_ended_cannot_be_cancelled(current: Settings) -> None:
    """The sentence says how it ended."""
    run = new_run()
    cancel.cancel(current, run.run_id)

    with pytest.raises(StoreError, match="has ended already: ABORTED"):
        cancel.cancel(current, run.run_id)


def test_hosts_that_are_nobodys_are_returned(begun: Run, airflow: Says, current: Settings) -> None:
    """A lease of a try that nobody knows: whoever began it was killed before the try was written down."""
    airflow("running", {})
    with store.session() as session:
        lease = host_leases.begin(session, begun, "integration_tests", 1, host_leases.Wanted("qemu", 1, 6))
        lease.asked_at -= timedelta(minutes=2)
    first, second = reconcile.reconcile(current), reconcile.reconcile(current)

    assert [(one.run, "it was nobody's" in one.what) for one in first] == [(begun.run_id, True)]
    assert second == []
