"""Every way a run can end is announced, once, with the right status and a reason. All through Airflow's real API."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from ci_pipeline import cancel, reconcile, store
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Run, StageResult
from tests.distgit import DistGit, package
from tests.e2e.conftest import Bus, wait_until
from tests.e2e.test_a_change import PREFIX, push

# Longer than any test here waits: such a build ends only because somebody ends it.
SLOW = package("greeter", "2.0", check="sleep 600")


@pytest.fixture(scope="session")
def api(pipeline: Settings) -> Iterator[httpx.Client]:
    """A session with the api-server, as a person's browser has one."""
    account = {"username": pipeline.airflow.username, "password": pipeline.airflow.password.get_secret_value()}
    with httpx.Client(base_url=pipeline.airflow.url, timeout=60) as client:
        token = client.post("/auth/token", json=account).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


@pytest.fixture
def building(bus: Bus, recorded: Path, distgit: DistGit) -> Run:
    """A run whose build has begun and will not end by itself."""
    rev = distgit.commit("greeter", SLOW)
    push(bus, recorded, "greeter", rev)
    bus.wait_for("package.running", rev)
    with store.session() as session:
        run = session.scalars(select(Run).where(Run.rev == rev)).one()
    wait_until(lambda _: playbooks_of(run), seconds=60, what="the playbook of the build")
    return run


def playbooks_of(run: Run) -> list[psutil.Process]:
    """Return the processes that work in a run's workspaces."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(f"/{run.run_id}/" in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def ends(bus: Bus, run: Run, *, seconds: float = 120) -> list[tuple[str, str]]:
    """Wait for a run's `complete`; return its events from `package.running` on, with their status."""
    messages = bus.wait_for("complete", run.rev, seconds=seconds)
    said = [(message["topic"].removeprefix(PREFIX), message["body"]["status"]) for message in messages]
    return [(event, status) for event, status in said if event != "package.queued"]


def reason_of(run: Run) -> str:
    """Return the stored reason of a run."""
    with store.session() as session:
        return runs.locked(session, run.id).reason


def url_of(run: Run, task: str = "") -> str:
    """Return the API's address of a run or of one of its tasks."""
    return f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}" + (f"/taskInstances/{task}" if task else "")


ABORTED = [("package.running", "SUCCESS"), ("package.complete", "ABORTED"), ("complete", "ABORTED")]


def test_a_cancelled_run_is_aborted_and_nothing_of_it_goes_on(bus: Bus, building: Run, pipeline: Settings) -> None:
    """The playbook, the build and its sandbox end with it."""
    cancel.cancel(pipeline, building.run_id)

    assert ends(bus, building) == ABORTED

    wait_until(lambda _: not playbooks_of(building), seconds=30, what="the end of the build's processes")


def test_a_run_marked_failed_is_aborted(bus: Bus, building: Run, api: httpx.Client) -> None:
    """In the UI, which calls the same address."""
    api.patch(url_of(building), json={"state": "failed"}).raise_for_status()

    assert ends(bus, building) == ABORTED


@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_task_marked_by_hand_is_aborted(bus: Bus, building: Run, api: httpx.Client, state: str) -> None:
    """Nothing is known of how it would have ended; that it was marked success invents no success."""
    api.patch(url_of(building, "build_package"), json={"new_state": state}).raise_for_status()
    said = ends(bus, building)

    assert said[:2] == ABORTED[:2]
    assert said[-1] == ABORTED[-1]
    assert [event for event, _ in said].count("complete") == 1


@pytest.fixture
def paused(api: httpx.Client) -> Iterator[str]:
    """The branch's DAG, paused: its runs are queued and do not start."""
    address = "/api/v2/dags/ci-pipeline-f26"
    api.patch(address, json={"is_paused": True}).raise_for_status()
    yield "ci-pipeline-f26"
    api.patch(address, json={"is_paused": False}).raise_for_status()


def test_a_deleted_run_is_aborted(bus: Bus, recorded: Path, distgit: DistGit, api: httpx.Client, paused: str) -> None:
    """Airflow lets runs be deleted that have not started, and forgets them; the journal does not."""
    rev = distgit.commit("greeter", SLOW)
    push(bus, recorded, "greeter", rev)

    def fired(session: Session) -> Run | None:
        return session.scalar(select(Run).where(Run.rev == rev, Run.fired_at.is_not(None)))

    run = wait_until(fired, seconds=60, what="a fired run")
    api.delete(url_of(run)).raise_for_status()

    assert ends(bus, run) == [("complete", "ABORTED")]
    assert "deleted in Airflow" in reason_of(run)


def test_a_killed_task_process_is_an_infrastructure_fault(bus: Bus, building: Run) -> None:
    """It is tried again; the second time it is killed it is announced as a FAILURE."""

    def kill(try_number: int) -> None:
        def begun(session: Session) -> list[psutil.Process]:
            query = select(StageResult).where(StageResult.run_id == building.id, StageResult.try_number == try_number)
            return playbooks_of(building) if session.scalar(query) else []

        processes = wait_until(begun, seconds=120, what=f"try {try_number}")
        task = next(process.parent() for process in processes if process.pid == os.getpgid(process.pid))
        os.kill(task.pid, signal.SIGKILL)
        wait_until(lambda _: not task.is_running(), seconds=10, what="the end of the task's process")

    kill(1)
    kill(2)
    said = ends(bus, building, seconds=180)

    assert said == [("package.running", "SUCCESS"), ("package.complete", "FAILURE"), ("complete", "FAILURE")]

    with store.session() as session:
        tries = [(row.status, row.fault) for row in runs.locked(session, building.id).results]

    assert tries == [("FAILURE", "infrastructure"), ("FAILURE", "infrastructure")]


def test_a_cleared_stage_announces_its_own_end(bus: Bus, recorded: Path, distgit: DistGit, api: httpx.Client) -> None:
    """A re-run says its stages and its `complete` again, later; the history keeps both."""
    rev = distgit.commit("greeter", package("greeter", "2.1", check="exit 1"))
    push(bus, recorded, "greeter", rev)
    bus.wait_for("complete", rev)
    with store.session() as session:
        run = session.scalars(select(Run).where(Run.rev == rev)).one()
    # The message goes out before the task that says it has ended; what still runs must not be cleared.
    wait_until(lambda _: api.get(url_of(run)).json()["state"] == "failed", seconds=60, what="the end of the run")
    body = {"dag_run_id": run.run_id, "dry_run": False, "only_failed": False, "include_downstream": True}
    answer = api.post(f"/api/v2/dags/{run.dag_id}/clearTaskInstances", json=body | {"task_ids": ["build_package"]})
    answer.raise_for_status()

    def completes() -> list[str]:
        return [m["body"]["status"] for m in bus.of(rev) if m["topic"] == f"{PREFIX}complete"]

    wait_until(lambda _: len(completes()) == 2, seconds=120, what="a second complete")

    assert completes() == ["FAILURE", "FAILURE"]
    assert [m["topic"] for m in bus.of(rev)].count(f"{PREFIX}package.complete") == 2


def test_a_healthy_system_needs_no_mending(bus: Bus, recorded: Path, distgit: DistGit, pipeline: Settings) -> None:
    """The reconciler finds nothing to do after a run that ended by itself."""
    rev = distgit.commit("greeter", package("greeter", "2.2", check="exit 1"))
    push(bus, recorded, "greeter", rev)
    bus.wait_for("complete", rev)
    with store.session() as session:
        mine = session.scalars(select(Run.run_id).where(Run.rev == rev)).one()

    assert not [one for one in reconcile.reconcile(pipeline) if one.run == mine]
