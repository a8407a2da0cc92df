"""The lanes: whose turn it is, and who is behind whom."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_pipeline.kind import Kind
from ci_pipeline.lane import LEFT_TO_OTHERS, PLACES, Crowd, Lane, behind, behind_of, next_of, suffix

CROWDS = st.lists(
    st.builds(
        lambda branch, oldest, storm, others: Crowd(branch, oldest, storm + others, storm),
        st.sampled_from(["f25", "f26", "rawhide"]),
        st.integers(1, 50),
        st.integers(0, PLACES),
        st.integers(0, PLACES),
    ),
    unique_by=(lambda crowd: crowd.branch, lambda crowd: crowd.oldest),
)


@given(CROWDS)
def test_a_branch_that_is_full_gets_no_more_of_a_storm(crowds: list[Crowd]) -> None:
    """What is pushed meanwhile finds a place; only a branch with nothing of the storm has one go on in any case."""
    chosen = next_of(crowds)

    assert chosen is None or chosen.storm == 0 or chosen.going_on < PLACES - LEFT_TO_OTHERS


@given(CROWDS)
def test_no_branch_is_passed_over_for_ever(crowds: list[Crowd]) -> None:
    """One of which nothing goes on goes before those that have some; of equals, who waits longest."""
    chosen = next_of(crowds)
    idle = [crowd for crowd in crowds if crowd.storm == 0]

    assert (chosen is None) == all(crowd.storm > 0 and crowd.going_on >= PLACES - LEFT_TO_OTHERS for crowd in crowds)
    if idle:
        assert chosen == min(idle, key=lambda crowd: crowd.oldest)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("lane", list(Lane))
def test_airflow_knows_by_the_id_how_far_behind_a_run_is(kind: Kind, lane: Lane) -> None:
    """As far as our own database has it."""
    assert behind_of(f"rpms.greeter-35fdde9-f26-12{suffix(kind, lane)}") == behind(kind, lane)


def test_airflows_own_backfills_are_behind_too() -> None:
    """Airflow gives them their ids."""
    assert behind_of("backfill__rpms.greeter-35fdde9-f26-20261101T120000.000000") == behind(Kind.BACKFILL, Lane.LIVE)


def test_what_is_live_is_behind_nobody() -> None:
    """And a storm is not as far behind as a backfill."""
    assert timedelta(0) == behind(Kind.PUSH, Lane.LIVE) == behind(Kind.MANUAL, Lane.LIVE)
    assert behind(Kind.PUSH, Lane.LIVE) < behind(Kind.PUSH, Lane.STORM) < behind(Kind.BACKFILL, Lane.LIVE)
