"""A sink that is new is told of the past, once."""

from datetime import UTC, datetime, timedelta

import pytest

from ci_pipeline import store
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.sinks import past
from ci_pipeline.stages import GENERATE_IMAGE
from ci_pipeline.store import runs
from tests.makers import new_run, play
from tests.sinks.conftest import Make

pytestmark = pytest.mark.usefixtures("database")

AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)


def a_run(settings: Settings) -> None:
    """Let a run go as far as its image, which is not due, and end."""
    run = new_run()
    play(settings, run, *[Status.SUCCESS] * 4)
    with store.session() as session:
        journal, row = Journal(session, settings), runs.locked(session, run.id)
        journal.skip_stage(row, GENERATE_IMAGE, 1, "not due")
        journal.finish_run(row)


def test_a_new_sink_is_told_what_one_that_was_there_was_told(downstream: Make, current: Settings) -> None:
    """The same events and statuses, in the same order and at the same times."""
    there = downstream("http", name="there")
    a_run(there.settings)
    new = downstream("http", name="new")
    stored = past.recall(new.settings, "new", AN_HOUR_AGO)

    assert stored == len(there.rows) == 8
    assert [(row.event, row.status, row.at) for row in new.rows] == [
        (row.event, row.status, row.at) for row in there.rows
    ]
    assert new.deliver().delivered == 8


def test_what_a_sink_was_told_is_not_told_again(downstream: Make) -> None:
    """Neither what it was told when it happened, nor what was recalled before."""
    hub = downstream("http")
    a_run(hub.settings)

    assert past.recall(hub.settings, hub.name, AN_HOUR_AGO) == 0
    late = downstream("http", name="late")
    assert past.recall(late.settings, "late", AN_HOUR_AGO) == 8
    assert past.recall(late.settings, "late", AN_HOUR_AGO) == 0


def test_what_ended_before_is_left_alone(downstream: Make, current: Settings) -> None:
    """And so is a run that goes on, which speaks for itself."""
    a_run(current)
    play(current, new_run("hostinfo"), Status.SUCCESS)
    hub = downstream("http")

    assert past.recall(hub.settings, hub.name, datetime.now(UTC)) == 0
    assert past.recall(hub.settings, hub.name, AN_HOUR_AGO) == 8
