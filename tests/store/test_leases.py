"""The compose lease: one run per branch between its compose and the end of its integration tests."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from ci_pipeline import store
from ci_pipeline.kind import Kind
from ci_pipeline.lane import Lane
from ci_pipeline.store import leases, runs
from ci_pipeline.store.storm_tables import LeaseWaiter
from ci_pipeline.store.tables import Run
from tests.makers import change, new_run

pytestmark = pytest.mark.usefixtures("database")


def acquire(run: int, branch: str = "f26") -> str | None:
    """Try to take the lease; return who holds it instead, if somebody does."""
    with store.session() as session:
        holder = leases.acquire(session, name=leases.compose_of(branch), run=run)
        return holder and holder.run_id


def test_a_second_run_is_told_who_holds_it() -> None:
    """And gets it once it is given back."""
    first, second = new_run(), new_run(rev="1" * 40)

    assert acquire(first.id) is None
    assert acquire(second.id) == first.run_id

    with store.session() as session:
        leases.release(session, run=first.id)

    assert acquire(second.id) is None


def test_taking_it_again_is_fine() -> None:
    """A stage that is tried again holds it already."""
    run = new_run()

    assert acquire(run.id) is None
    assert acquire(run.id) is None


def test_branches_do_not_wait_for_each_other() -> None:
    """Each has its own ref and package set."""
    first, second = new_run(), new_run(branch="rawhide")

    assert acquire(first.id, "f26") is None
    assert acquire(second.id, "rawhide") is None


def test_a_run_that_has_ended_holds_nothing() -> None:
    """A run that died without giving it back blocks nobody."""
    dead, next_one = new_run(), new_run(rev="1" * 40)
    acquire(dead.id)
    with store.session() as session:
        runs.locked(session, dead.id).status = "ABORTED"

    assert acquire(next_one.id) is None


def run_in(lane: Lane, digit: str, *, kind: Kind = Kind.PUSH) -> Run:
    """Store a run of a lane."""
    with store.session() as session:
        return runs.create(session, change(rev=digit * 40), kind=kind, lane=lane)


def pass_by(*, waiting: timedelta = timedelta(0), silent: timedelta = timedelta(0)) -> None:
    """Let those who wait have waited so much longer, or be silent for so long."""
    with store.session() as session:
        later = {"since": LeaseWaiter.since - waiting, "asked_at": LeaseWaiter.asked_at - silent}
        session.execute(update(LeaseWaiter).values(later))


def give_back(run: Run) -> None:
    """Let a run give back what it holds."""
    with store.session() as session:
        leases.release(session, run=run.id)


def test_a_live_change_goes_before_a_storm_that_waits() -> None:
    """And before a backfill, which comes after both; of a storm, who waits longest."""
    holder = new_run()
    acquire(holder.id)
    past = run_in(Lane.LIVE, "1", kind=Kind.BACKFILL)
    storm, other, live = run_in(Lane.STORM, "2"), run_in(Lane.STORM, "3"), run_in(Lane.LIVE, "4")
    waiting = [past, storm, other, live]
    for run in waiting:
        acquire(run.id)
    give_back(holder)
    order = []
    while waiting:
        taken = next(run for run in waiting if acquire(run.id) is None)
        order.append(taken)
        waiting.remove(taken)
        give_back(taken)

    assert [run.id for run in order] == [live.id, storm.id, other.id, past.id]


def test_who_has_waited_for_more_than_an_hour_goes_before_what_is_pushed_now() -> None:
    """Whatever is pushed, nobody waits for ever; who is told to wait is told for whom."""
    holder, storm, live = new_run(), run_in(Lane.STORM, "1"), run_in(Lane.LIVE, "2")
    acquire(holder.id)
    acquire(storm.id)
    pass_by(waiting=timedelta(minutes=61))
    acquire(live.id)
    give_back(holder)

    assert acquire(live.id) == storm.run_id
    assert acquire(storm.id) is None


def test_who_has_stopped_asking_is_not_waited_for() -> None:
    """Its task was ended, or the triggerer that asks for it is away."""
    holder, live, storm = new_run(), run_in(Lane.LIVE, "1"), run_in(Lane.STORM, "2")
    for run in (holder, live, storm):
        acquire(run.id)
    pass_by(silent=timedelta(seconds=16))
    give_back(holder)

    assert acquire(storm.id) is None


def test_who_goes_on_asking_keeps_its_place() -> None:
    """However long it takes."""
    holder, live, storm = new_run(), run_in(Lane.LIVE, "1"), run_in(Lane.STORM, "2")
    for run in (holder, live, storm):
        acquire(run.id)
    for _ in range(3):
        pass_by(silent=timedelta(seconds=10))
        acquire(live.id)
    give_back(holder)

    assert acquire(storm.id) == live.run_id


def test_nobody_is_left_in_the_line() -> None:
    """Neither who has taken the lease nor who has ended."""
    holder, second, third = new_run(), run_in(Lane.LIVE, "1"), run_in(Lane.STORM, "2")
    for run in (holder, second, third):
        acquire(run.id)
    give_back(holder)
    acquire(second.id)
    give_back(third)
    with store.session() as session:
        left = session.scalar(select(func.count()).select_from(LeaseWaiter))

    assert left == 0
