"""The compose lease: one run per branch between its compose and the end of its integration tests."""

import pytest

from ci_pipeline import store
from ci_pipeline.store import leases, runs
from tests.makers import new_run

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
