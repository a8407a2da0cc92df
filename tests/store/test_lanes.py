"""The storm lane: whose turn it is, how it drains, and what is let go before its turn."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from ci_pipeline import audit, cancel, store
from ci_pipeline.errors import StoreError
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.store import lanes, runs
from ci_pipeline.store.lanes import Drain
from ci_pipeline.store.tables import Run
from tests.makers import new_run, play
from tests.storm import PACKAGES, rebuild, stormy, waiting

pytestmark = pytest.mark.usefixtures("database")


def let_go(settings: Settings, *, but: str = "") -> list[str]:
    """Let go as many as there is room for; return their packages and branches."""
    gone = []
    with store.session() as session:
        while run := lanes.next_to_go(session, settings.storm, but=[but]):
            runs.mark_fired(session, run.id)
            gone.append(f"{run.repo} {run.branch}")
    return gone


def end(settings: Settings, package: str, *statuses: Status) -> None:
    """Let the run of a package run, if it is to, and end."""
    with store.session() as session:
        run = session.scalars(select(Run).where(Run.repo == package)).one()
    play(settings, run, *statuses)
    with store.session() as session:
        Journal(session, settings).finish_run(runs.locked(session, run.id))


def drained() -> Drain:
    """Return how the lane drains."""
    with store.session() as session:
        return lanes.drain(session)


def began_earlier(**ago: float) -> None:
    """Let what was fired have been fired so much earlier."""
    with store.session() as session:
        session.execute(update(Run).values(fired_at=Run.fired_at - timedelta(**ago)))


def test_so_many_go_on_and_no_more(current: Settings) -> None:
    """The oldest first; one that ends makes room for one."""
    settings = stormy(current, changes=0, at_once=2)
    rebuild(settings, 5)

    assert let_go(settings) == ["package-0 f26", "package-1 f26"]
    assert let_go(settings) == []

    end(settings, "package-1", Status.SUCCESS)

    assert let_go(settings) == ["package-2 f26"]


def test_branches_take_turns(current: Settings) -> None:
    """Each composes one at a time: all of them are to be busy."""
    settings = stormy(current, changes=0, at_once=4)
    rebuild(settings, 3)
    rebuild(settings, 3, branch="main")

    assert let_go(settings) == ["package-0 f26", "package-0 rawhide", "package-1 f26", "package-1 rawhide"]


def test_a_branch_that_takes_none_does_not_hold_up_the_others(current: Settings) -> None:
    """Its DAG is broken, say."""
    settings = stormy(current, changes=0, at_once=2)
    rebuild(settings, 3)
    rebuild(settings, 3, branch="main")

    assert let_go(settings, but="f26") == ["package-0 rawhide", "package-1 rawhide"]


def test_so_many_begin_within_an_hour(current: Settings) -> None:
    """However quickly they end."""
    settings = stormy(current, changes=0, at_once=3, per_hour=2)
    rebuild(settings, 4)
    let_go(settings)
    end(settings, "package-0")
    end(settings, "package-1")

    assert let_go(settings) == []

    began_earlier(minutes=61)

    assert let_go(settings) == ["package-2 f26", "package-3 f26"]


def test_a_branch_that_is_busy_keeps_places_for_what_is_pushed(current: Settings) -> None:
    """But one of the storm goes on in any case."""
    settings = stormy(current, changes=0)
    for number in range(12):
        run = new_run("greeter", rev=f"{number:040}")
        with store.session() as session:
            runs.mark_fired(session, run.id)
    rebuild(settings, 3)

    assert let_go(settings) == ["package-0 f26"]


def test_of_two_only_one_lets_go_at_a_time(current: Settings) -> None:
    """The listener and the reconciler would each see the same room."""
    with store.session() as one, store.session() as other:
        assert lanes.lock(one)
        assert not lanes.lock(other)


def test_what_is_cancelled_goes_no_more(current: Settings) -> None:
    """It has its end, as any run has."""
    settings = stormy(current, changes=0)
    rebuild(settings, 2)
    cancel.cancel(settings, "f26/1")

    assert let_go(settings) == ["package-1 f26"]
    assert audit.audit(patience=timedelta(days=1)).findings == ()


def test_how_long_it_takes_is_unknown_before_any_has_ended(current: Settings) -> None:
    """One that was given up before it began tells nothing."""
    settings = stormy(current, changes=0)
    rebuild(settings, 5)
    let_go(settings)
    end(settings, "package-0")
    found = drained()

    assert (found.waiting, found.going_on, found.ended) == (1, 3, 0)
    assert found.seconds_left is None


def test_how_long_it_takes_is_told_by_those_that_have_run(current: Settings) -> None:
    """Two in twenty minutes: four more take forty. What ended more than an hour ago does not count."""
    settings = stormy(current, changes=0)
    rebuild(settings, 7)
    let_go(settings)
    for number in range(3):
        end(settings, PACKAGES[number], Status.SUCCESS)
    with store.session() as session:
        session.execute(
            update(Run).where(Run.repo == PACKAGES[0]).values(ended_at=datetime.now(UTC) - timedelta(minutes=90))
        )
    began_earlier(minutes=20)
    found = drained()

    assert (found.waiting, found.going_on, found.ended) == (3, 1, 2)
    assert found.seconds_left == pytest.approx(2400, rel=0.02)
    assert found.seconds_for(1) == pytest.approx(600, rel=0.02)


def test_an_empty_lane_is_drained(current: Settings) -> None:
    """Whatever has run."""
    assert drained() == Drain()
    assert drained().seconds_left == 0


def test_the_place_of_a_run_is_told(current: Settings) -> None:
    """Branches take turns in it; who is not held back has none."""
    settings = stormy(current, changes=0)
    rebuild(settings, 3)
    rebuild(settings, 2, branch="main")
    with store.session() as session:
        held = session.scalars(select(Run).order_by(Run.id)).all()
        places = {f"{run.repo} {run.branch}": lanes.place_of(session, run) for run in held}

    assert sorted(places, key=places.__getitem__) == [
        "package-0 f26",
        "package-0 rawhide",
        "package-1 f26",
        "package-1 rawhide",
        "package-2 f26",
    ]
    with store.session() as session:
        assert lanes.place_of(session, new_run()) == 0


def test_who_waits_is_told_by_account(current: Settings) -> None:
    """The one with most first."""
    settings = stormy(current, changes=0)
    rebuild(settings, 1, by="alice", branch="main")
    rebuild(settings, 3)
    with store.session() as session:
        found = lanes.waiting_by_account(session)

    assert [(account, count) for account, count, _ in found] == [("releng", 3), ("alice", 1)]


def test_one_that_is_released_goes_at_once(current: Settings) -> None:
    """Like one that is pushed alone."""
    settings = stormy(current, changes=0)
    rebuild(settings, 3)
    with store.session() as session:
        lanes.release(session, "f26/3")

    assert waiting() == ["package-2"]


@pytest.mark.parametrize("state", ["live", "running", "ABORTED"])
def test_what_is_not_held_back_cannot_be_released(current: Settings, state: str) -> None:
    """The sentence says where it stands."""
    settings = stormy(current, changes=0 if state != "live" else 9)
    rebuild(settings, 1)
    if state == "running":
        let_go(settings)
    if state == "ABORTED":
        cancel.cancel(settings, "f26/1")

    with (
        pytest.raises(StoreError, match=f"f26/1 is not held back: it is {state.replace('live', 'queued')}"),
        store.session() as session,
    ):
        lanes.release(session, "f26/1")
