"""Superseding: a newer revision takes the place of one that waits, never of one that has begun."""

import threading

import pytest
from sqlalchemy import select, text

from ci_pipeline import audit, store
from ci_pipeline.intake import Intake
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import ledger, outbox, runs
from ci_pipeline.store.tables import Inbound, Run
from tests.makers import play, pushed

pytestmark = pytest.mark.usefixtures("database")

OLD, NEW, NEWEST = "1" * 40, "2" * 40, "3" * 40


def take_up(settings: Settings, *messages: ledger.Received) -> None:
    """Let the intake take up a batch."""
    Intake(settings, trigger_run_id="x").record(messages)


def states() -> list[tuple[str, str]]:
    """Return state and reason of every message, in order."""
    with store.session() as session:
        return [(row.state, row.reason) for row in session.scalars(select(Inbound).order_by(Inbound.id))]


def statuses() -> list[str | None]:
    """Return the status of every run, in order."""
    with store.session() as session:
        return list(session.scalars(select(Run.status).order_by(Run.id)))


def run_of(rev: str) -> Run:
    """Return the run of a revision."""
    with store.session() as session:
        return session.scalars(select(Run).where(Run.rev == rev)).one()


def said(run: Run) -> list[tuple[str, str]]:
    """Return the events of a run with their status, in order."""
    with store.session() as session:
        return [(row.event, row.body["status"]) for row in outbox.messages(session, run=run.id)]


def begin(settings: Settings, run: Run) -> None:
    """Let the build of a run begin."""
    with store.session() as session:
        Journal(session, settings).begin_stage(runs.locked(session, run.id), BUILD_PACKAGE, 1)


def wait_for_a_lock(holder: int) -> None:
    """Return once another connection waits for what the connection `holder` has locked."""
    blocked = text("SELECT count(*) FROM pg_stat_activity WHERE :pid = ANY(pg_blocking_pids(pid))")
    for _ in range(10_000):
        with store.session() as session:
            if session.scalar(blocked, {"pid": holder}):
                return
    pytest.fail("nobody waits for the lock")


@pytest.mark.parametrize("running", [True, False])
def test_a_run_that_has_begun_is_never_superseded(current: Settings, *, running: bool) -> None:
    """It is built already, or being built: both changes are run."""
    take_up(current, pushed(rev=OLD))
    if running:
        begin(current, run_of(OLD))
    else:
        play(current, run_of(OLD), Status.SUCCESS)
    take_up(current, pushed(rev=NEW))

    assert states() == [("queued", ""), ("queued", "")]
    assert statuses() == [None, None]


def test_a_run_that_has_ended_is_not_superseded(current: Settings) -> None:
    """It has its end."""
    take_up(current, pushed(rev=OLD))
    with store.session() as session:
        Journal(session, current).finish_run(runs.locked(session, run_of(OLD).id))
    take_up(current, pushed(rev=NEW))

    assert states()[0] == ("queued", "")


@pytest.mark.parametrize("other", [pushed("hostinfo", rev=NEW), pushed(rev=NEW, branch="main"), pushed("x", rev=NEW)])
def test_other_packages_and_branches_supersede_nothing(current: Settings, other: ledger.Received) -> None:
    """Nor does a change that is ignored."""
    take_up(current, pushed(rev=OLD), other)

    assert states()[0] == ("queued", "")
    assert statuses()[0] is None


def test_a_batch_that_fails_supersedes_nothing(current: Settings) -> None:
    """The old change is given up only when the new one is safe."""
    take_up(current, pushed(rev=OLD))

    def crash() -> None:
        with store.session() as session:
            Intake(current, trigger_run_id="x").take_up(session, [pushed(rev=NEW)])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        crash()

    assert states() == [("queued", "")]
    assert statuses() == [None]


def test_a_waiting_change_is_superseded_and_its_run_says_so(current: Settings) -> None:
    """Its packager is told that it was given up, and for what."""
    take_up(current, pushed(rev=OLD))
    take_up(current, pushed(rev=NEW))

    reason = "superseded by 2222222 (message 2)"

    assert states() == [("superseded", reason), ("queued", "")]
    assert (run_of(OLD).status, run_of(OLD).reason) == ("ABORTED", reason)
    assert said(run_of(OLD)) == [("package.queued", "SUCCESS"), ("complete", "ABORTED")]


def test_a_superseded_run_is_not_fired(current: Settings) -> None:
    """Airflow is told of the newest only."""
    take_up(current, pushed(rev=OLD), pushed(rev=NEW))
    with store.session() as session:
        waiting = [run.rev for run in runs.not_fired(session)]

    assert waiting == [NEW]


def test_of_many_in_one_batch_the_last_is_left(current: Settings) -> None:
    """Every one is queued, and announced, before the next takes its place."""
    take_up(current, *(pushed(rev=rev) for rev in (OLD, NEW, NEWEST)))

    assert [state for state, _ in states()] == ["superseded", "superseded", "queued"]
    assert statuses() == ["ABORTED", "ABORTED", None]
    assert [event for event, _ in said(run_of(OLD))] == ["package.queued", "complete"]


def test_a_superseded_change_that_comes_again_is_a_duplicate(current: Settings) -> None:
    """The bus repeats messages: an old one must not take the place of the newer."""
    take_up(current, pushed(rev=OLD), pushed(rev=NEW))
    take_up(current, pushed(rev=OLD), pushed(rev=NEW))

    assert [state for state, _ in states()] == ["superseded", "queued", "duplicate", "duplicate"]
    assert statuses() == ["ABORTED", None]


def test_a_build_that_begins_at_the_same_moment_wins(current: Settings) -> None:
    """It holds its run when the newer change arrives; the intake waits for it, and sees that it has begun."""
    take_up(current, pushed(rev=OLD))
    run = run_of(OLD)
    intake = threading.Thread(target=take_up, args=(current, pushed(rev=NEW)))
    with store.session() as session:
        Journal(session, current).begin_stage(runs.locked(session, run.id), BUILD_PACKAGE, 1)
        intake.start()
        wait_for_a_lock(session.scalar(text("SELECT pg_backend_pid()")))
    intake.join()

    assert [state for state, _ in states()] == ["queued", "queued"]
    assert statuses() == [None, None]


def test_a_build_that_comes_too_late_finds_its_run_ended(current: Settings) -> None:
    """The intake holds the run: the build waits until it is known that the run is given up."""
    take_up(current, pushed(rev=OLD))
    run, found = run_of(OLD), []

    def build() -> None:
        with store.session() as session:
            found.append(runs.locked(session, run.id).status)

    late = threading.Thread(target=build)
    with store.session() as session:
        Intake(current, trigger_run_id="x").take_up(session, [pushed(rev=NEW)])
        late.start()
        wait_for_a_lock(session.scalar(text("SELECT pg_backend_pid()")))
    late.join()

    assert found == ["ABORTED"]


def test_two_intakes_at_the_same_time_leave_one_change(current: Settings) -> None:
    """Each sees what the other has queued, whoever comes first."""
    start = threading.Barrier(4)

    def push(rev: str) -> None:
        start.wait()
        take_up(current, pushed(rev=rev))

    threads = [threading.Thread(target=push, args=(str(n) * 40,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [state for state, _ in states()] == ["superseded"] * 3 + ["queued"]
    assert sorted(map(str, statuses())) == ["ABORTED"] * 3 + ["None"]
    assert audit.audit().findings == ()
