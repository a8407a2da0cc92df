"""The matrix: a column for what is one thing to the world."""

import pytest

from ci_pipeline import store
from ci_pipeline.insight import matrix
from ci_pipeline.insight.matrix import Cell, Wanted
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import CONFORMANCE_TESTS, PROVISION_HOSTS, SMOKE_TEST
from ci_pipeline.store import runs
from tests.makers import new_run, play

pytestmark = pytest.mark.usefixtures("database")
OK = Status.SUCCESS


def cell(settings: Settings) -> Cell | None:
    """Return the cell of the conformance tests of the only change."""
    with store.session() as session:
        page = matrix.page(session, settings, Wanted())
    (row,) = [*page.going_on, *page.ended]
    return row.cell(CONFORMANCE_TESTS)


def test_tests_that_have_not_begun_have_no_cell(current: Settings) -> None:
    """Their cluster has not been asked for."""
    play(current, new_run(), *[OK] * 6)

    assert cell(current) is None


@pytest.mark.parametrize("ended", [1, 2, 3])
def test_the_tests_run_while_their_steps_go_on(current: Settings, ended: int) -> None:
    """Though every step that has begun has ended."""
    play(current, new_run(), *[OK] * (6 + ended))

    assert cell(current).status is None


def test_the_first_red_step_is_what_is_shown(current: Settings) -> None:
    """A cluster that could not be installed is a red cell."""
    play(current, new_run(), *[OK] * 7, Status.FAILURE)
    shown = cell(current)

    assert (shown.status, shown.stage, shown.reason) == ("FAILURE", "configure_cluster", "because")


def test_the_time_is_that_of_all_steps(current: Settings) -> None:
    """From the first one's start to the last one's end."""
    run = new_run()
    play(current, run, *[OK] * 10)
    shown = cell(current)
    with store.session() as session:
        tries = runs.latest_results(session, run.id)

    assert shown.status == "SUCCESS"
    assert (shown.started_at, shown.ended_at) == (
        tries["provision_hosts"].started_at,
        tries["conformance_tests"].ended_at,
    )


def test_tests_that_were_skipped_are_shown_so(current: Settings) -> None:
    """There is no cluster."""
    run = new_run()
    play(current, run, *[OK] * 6)
    with store.session() as session:
        Journal(session, current).skip_stage(runs.locked(session, run.id), PROVISION_HOSTS, 1, "no cluster")

    assert cell(current).status == "SKIPPED"


def test_a_stage_that_is_one_thing_has_its_own_cell(current: Settings) -> None:
    """As it is."""
    play(current, new_run(), *[OK] * 6)
    with store.session() as session:
        (row,) = matrix.page(session, current, Wanted()).going_on

    assert row.cell(SMOKE_TEST) == row.cells["smoke_test"]
