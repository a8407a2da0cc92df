"""Every way a run can end is announced, once, with the right status and a reason. All through Airflow's real API."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import make_url, select, text
from sqlalchemy.orm import Session

from ci_pipeline import cancel, process_table, reconcile, store
from ci_pipeline.settings import Settings
from ci_pipeline.stack.postgres import AIRFLOW_DATABASE
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Inbound, Run
from tests.distgit import DistGit, package
from tests.e2e.conftest import Bus, clear, url_of, wait_until
from tests.e2e.test_a_change import PREFIX, push, run_of

# Longer than any test here waits: such a build ends only because somebody ends it.
SLOW = package("greeter", "2.0", check="sleep 600")


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


def playbooks_of(run: Run, workspace: str = "") -> list[psutil.Process]:
    """Return the processes that work in a run's workspaces, or in one of them. Any may be gone when it is asked."""
    found = []
    for process in process_table.everyone():
        try:
            if any(f"/{run.run_id}/{workspace}" in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _name_of(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def ends(bus: Bus, run: Run, *, seconds: float = 120) -> list[tuple[str, str]]:
    """Wait for a run's `complete`; return its events from `package.running` on, with their status."""
    messages = bus.wait_for("complete", run.rev, seconds=seconds)
    said = [(message["topic"].removeprefix(PREFIX), message["body"]["status"]) for message in messages]
    return [(event, status) for event, status in said if event != "package.queued"]


def reason_of(run: Run) -> str:
    """Return the stored reason of a run."""
    with store.session() as session:
        return runs.locked(session, run.id).reason


ABORTED = [("package.running", "SUCCESS"), ("package.complete", "ABORTED"), ("complete", "ABORTED")]


def test_a_cancelled_run_is_aborted_and_nothing_of_it_goes_on(bus: Bus, building: Run, pipeline: Settings) -> None:
    """The playbook, the build and its sandbox end with it."""
    cancel.cancel(pipeline, building.run_id)

    assert ends(bus, building) == ABORTED
    assert reason_of(building) == "build_package: its task was ended: admin ended it in Airflow"

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


def task_of(run: Run, try_number: int) -> psutil.Process:
    """Return the process of the task that carries out a try of the build, once it does."""

    def task(_: Session) -> psutil.Process | None:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            ours = playbooks_of(run, f"build_package-{try_number}/")
            return next((one.parent() for one in ours if one.pid == os.getpgid(one.pid)), None)
        return None

    found: psutil.Process = wait_until(task, seconds=180, what=f"try {try_number}")
    return found


@pytest.mark.parametrize("victim", ["task", "worker"])
def test_a_killed_process_is_an_infrastructure_fault(bus: Bus, building: Run, victim: str) -> None:
    """It is tried again; the second time it is killed it is announced as a FAILURE. Nothing of it goes on.

    A worker is noticed by its missing heartbeat. The task it had goes on without it, until the next try begins.
    """
    for try_number in (1, 2):
        task = task_of(building, try_number)
        killed = task if victim == "task" else task.parent()
        os.kill(killed.pid, signal.SIGKILL)
        wait_until(lambda _, killed=killed: not killed.is_running(), seconds=10, what=f"the end of the {victim}")
    said = ends(bus, building, seconds=180)

    assert said == [("package.running", "SUCCESS"), ("package.complete", "FAILURE"), ("complete", "FAILURE")]

    with store.session() as session:
        tries = [(row.status, row.fault) for row in runs.locked(session, building.id).results]

    assert tries == [("FAILURE", "infrastructure"), ("FAILURE", "infrastructure")]

    wait_until(lambda _: not playbooks_of(building), seconds=60, what="the end of the build's processes")


@pytest.fixture
def short_builds(pipeline: Settings) -> Iterator[int]:
    """A build that takes longer than this, in seconds, is over its limit."""
    config = pipeline.state / "pipeline.toml"
    before = config.read_text()
    config.write_text(f"{before}\n[stages.build_package.limits]\nseconds = 15\n")
    yield 15
    config.write_text(before)


def test_a_stage_over_its_time_limit_is_aborted(bus: Bus, recorded: Path, distgit: DistGit, short_builds: int) -> None:
    """It is not tried again, and its reason names the limit."""
    rev = distgit.commit("greeter", SLOW)
    push(bus, recorded, "greeter", rev)
    bus.wait_for("package.running", rev)
    run = run_of(rev)

    assert ends(bus, run) == ABORTED
    assert f"used up its limit of {short_builds} s (limits.seconds)" in reason_of(run)


def test_a_run_over_its_time_limit_is_aborted(bus: Bus, building: Run, pipeline: Settings) -> None:
    """Airflow ends its tasks, `complete` among them, and calls no callback.

    A day is not waited for: the run's beginning is moved into the past, in Airflow's database.
    """
    url = make_url(pipeline.database.url.get_secret_value()).set(database=AIRFLOW_DATABASE)
    with store.session(url.render_as_string(hide_password=False)) as session:
        begun = text("UPDATE dag_run SET start_date = start_date - interval '25 hours' WHERE run_id = :run")
        session.execute(begun, {"run": building.run_id})

    assert ends(bus, building) == ABORTED
    assert "time limit" in reason_of(building)

    wait_until(lambda _: not playbooks_of(building), seconds=60, what="the end of the build's processes")


def test_stages_behind_a_failed_one_say_nothing(bus: Bus, recorded: Path, distgit: DistGit, api: httpx.Client) -> None:
    """Airflow calls them `upstream_failed` and calls no callback; they never began, so there is nothing to say."""
    rev = distgit.commit("greeter", package("greeter", "2.3", check="exit 1"))
    push(bus, recorded, "greeter", rev)
    bus.wait_for("package.running", rev)
    run = run_of(rev)

    assert ends(bus, run) == [("package.running", "SUCCESS"), ("package.complete", "FAILURE"), ("complete", "FAILURE")]

    tasks = api.get(url_of(run) + "/taskInstances").json()["task_instances"]
    states = {task["task_id"]: task["state"] for task in tasks if task["task_id"] != "complete"}

    assert states.pop("build_package") == "failed"
    assert set(states.values()) == {"upstream_failed"}


def test_a_newer_push_supersedes_one_that_waits(
    bus: Bus, recorded: Path, distgit: DistGit, api: httpx.Client, paused: str
) -> None:
    """The older is announced as ABORTED at once, and does nothing when its turn comes; the newer runs."""
    older, newer = (distgit.commit("greeter", package("greeter", f"2.{minor}", check="exit 1")) for minor in (4, 5))
    push(bus, recorded, "greeter", older)
    bus.wait_for("package.queued", older, seconds=60)
    wait_until(lambda _: run_of(older).fired_at, seconds=180, what="the older run, fired")
    push(bus, recorded, "greeter", newer)
    bus.wait_for("complete", older, seconds=60)
    run = run_of(older)

    assert (run.status, run.reason) == ("ABORTED", f"superseded by {newer[:7]} (message {message_of(newer)})")

    api.patch(f"/api/v2/dags/{paused}", json={"is_paused": False}).raise_for_status()
    bus.wait_for("complete", newer)
    wait_until(lambda _: api.get(url_of(run)).json()["state"] == "success", seconds=60, what="the older run's end")

    assert [message["topic"].removeprefix(PREFIX) for message in bus.of(older)] == ["package.queued", "complete"]
    assert run_of(newer).status == "FAILURE"


def message_of(rev: str) -> int:
    """Return the ledger's number of the message that queued a revision."""
    with store.session() as session:
        return session.scalars(select(Inbound.id).where(Inbound.rev == rev, Inbound.state == "queued")).one()


def test_a_cancelled_run_leaves_no_machine(bus: Bus, recorded: Path, distgit: DistGit, pipeline: Settings) -> None:
    """Cancelled while the host's tests run: the virtual machine is gone within half a minute."""
    # Newer than what any other test promotes: an older build would not be composed.
    files = package("greeter", "8.0")
    files["tests/tests.yml"] = files["tests/tests.yml"].replace("raw: greeter", "raw: sleep 600")
    rev = distgit.commit("greeter", files)
    push(bus, recorded, "greeter", rev)
    bus.wait_for("compose.test.integration.running", rev)
    run = run_of(rev)

    def machine(_: Session) -> bool:
        return any(_name_of(process).startswith("qemu") for process in playbooks_of(run))

    wait_until(machine, seconds=90, what="the virtual machine")
    cancel.cancel(pipeline, run.run_id)
    wait_until(lambda _: not playbooks_of(run), seconds=30, what="the end of the machine and of all else")

    assert ends(bus, run)[-2:] == [("compose.test.integration.complete", "ABORTED"), ("complete", "ABORTED")]


def test_a_cleared_stage_announces_its_own_end(bus: Bus, recorded: Path, distgit: DistGit, api: httpx.Client) -> None:
    """A re-run says its stages and its `complete` again, later; the history keeps both."""
    rev = distgit.commit("greeter", package("greeter", "2.1", check="exit 1"))
    push(bus, recorded, "greeter", rev)
    bus.wait_for("complete", rev)
    with store.session() as session:
        run = session.scalars(select(Run).where(Run.rev == rev)).one()
    # The message goes out before the task that says it has ended; what still runs must not be cleared.
    wait_until(lambda _: api.get(url_of(run)).json()["state"] == "failed", seconds=60, what="the end of the run")
    clear(api, run, "build_package")

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
