"""What is told of the storm lane."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from ci_pipeline import store
from ci_pipeline.insight import storm_state
from ci_pipeline.insight.storm_state import StormState
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs, storms
from ci_pipeline.store.tables import Inbound, Run
from tests.makers import play
from tests.storm import rebuild, stormy

pytestmark = pytest.mark.usefixtures("database")


def read() -> StormState:
    """Read the lane."""
    with store.session() as session:
        return storm_state.read(session)


def run_one(settings: Settings, number: int, *, minutes_ago: int) -> None:
    """Let a run of the lane have begun so long ago, and end now."""
    with store.session() as session:
        run = runs.get(session, f"f26/{number}")
        runs.mark_fired(session, run.id)
    play(settings, run, Status.SUCCESS)
    with store.session() as session:
        Journal(session, settings).finish_run(runs.locked(session, run.id))
        session.execute(
            update(Run).where(Run.id == run.id).values(fired_at=Run.fired_at - timedelta(minutes=minutes_ago))
        )


def test_a_quiet_lane_is_quiet(current: Settings) -> None:
    """Also while a few changes go on."""
    rebuild(stormy(current, changes=3), 3)

    assert read().is_quiet


def test_how_long_it_takes_is_told_in_words(current: Settings) -> None:
    """Two ended in ten minutes, four wait."""
    settings = stormy(current, changes=0)
    rebuild(settings, 6)
    run_one(settings, 1, minutes_ago=10)
    run_one(settings, 2, minutes_ago=5)
    found = read()

    assert found.seconds_left == pytest.approx(1200, rel=0.02)
    assert found.summary.startswith(
        "4 wait, 0 run, 2 ended within the last hour; at this pace all of them have run in about 20 min"
    )


def test_a_storm_that_has_calmed_down_still_drains(current: Settings) -> None:
    """It is shown as long as something of it waits."""
    settings = stormy(current, changes=1)
    rebuild(settings, 3)
    with store.session() as session:
        session.execute(update(Inbound).values(received_at=Inbound.received_at - timedelta(hours=1)))
        storms.calm_down(session, settings.storm)
    (pusher,) = read().accounts

    assert (pusher.name, pusher.storms_since, pusher.waiting) == ("releng", None, 2)


def test_when_a_change_begins_is_told(current: Settings) -> None:
    """By its place; of one that does not wait for its turn nothing is said."""
    settings = stormy(current, changes=0)
    rebuild(settings, 4)
    run_one(settings, 1, minutes_ago=10)
    with store.session() as session:
        told = storm_state.why_held_back(session, runs.get(session, "f26/3"))
        ended = storm_state.why_held_back(session, runs.get(session, "f26/1"))

    assert "number 2 of 3; it begins in about 20 min" in told
    assert ended == ""
