"""The index of revisions: every change of a branch at a moment of its own."""

from datetime import UTC, datetime, timedelta

import pytest

from ci_pipeline import store
from ci_pipeline.change import Change
from ci_pipeline.errors import StoreError
from ci_pipeline.store import revisions
from ci_pipeline.store.revisions import Place
from tests.makers import REV, change

pytestmark = pytest.mark.usefixtures("database")
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
PLACE = Place("rpms", "greeter", "f26")


def add(one: Change, when: datetime | None = NOON) -> bool:
    """Add a revision."""
    with store.session() as session:
        return revisions.add(session, one, when)


def moment(one: Change) -> datetime:
    """Return the moment of a revision."""
    with store.session() as session:
        return revisions.moment(session, one)


@pytest.mark.parametrize("other", [change("hostinfo"), change(namespace="modules"), change(rev=REV[:10] + "0" * 30)])
def test_changes_of_one_second_have_moments_of_their_own(other: Change) -> None:
    """Also those that ask for the same microsecond: of another package, of a rev that begins the same."""
    add(change())
    add(other)

    assert moment(other) == moment(change()) + timedelta(microseconds=1)
    assert moment(change()).replace(microsecond=0) == NOON


def test_the_same_history_makes_the_same_index() -> None:
    """A database that was lost and filled again knows what Airflow has run."""
    add(change())
    before = moment(change())
    with store.session() as session:
        session.delete(revisions.newest_of(session, PLACE, limit=1)[0])
    add(change())

    assert moment(change()) == before


def test_a_second_s_last_microsecond_is_followed_by_its_first() -> None:
    """No revision leaves its second."""
    last = next(f"{number:010x}" + "0" * 30 for number in range(999_999, 2_000_000, 1_000_000))
    add(change(rev=last))
    add(change("hostinfo", rev=last))

    assert moment(change(rev=last)).microsecond == 999_999
    assert moment(change("hostinfo", rev=last)) == NOON


def test_a_known_revision_keeps_its_moment() -> None:
    """Runs are remembered by it."""
    assert add(change())
    assert not add(change(), NOON + timedelta(days=1))
    assert moment(change()).replace(microsecond=0) == NOON


def test_a_revision_is_one_of_each_branch() -> None:
    """It is pushed to both."""
    assert add(change())
    assert add(change(branch="rawhide"))
    assert moment(change()) == moment(change(branch="rawhide"))


@pytest.mark.parametrize("when", [None, datetime(1969, 12, 31, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
def test_a_time_nobody_can_believe_is_now(when: datetime | None) -> None:
    """Anyone may write anything into a commit."""
    add(change(), when)

    assert abs(moment(change()) - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_range_has_both_its_ends_and_is_of_one_branch() -> None:
    """The oldest first, and no more than asked for."""
    revs = [f"{number}" * 40 for number in range(4)]
    for hours, rev in enumerate(revs):
        add(change(rev=rev), NOON + timedelta(hours=hours))
    add(change(branch="rawhide"))
    with store.session() as session:
        begin, end = moment(change(rev=revs[1])), moment(change(rev=revs[3]))
        found = [row.rev for row in revisions.between(session, "f26", begin, end, limit=10)]
        first = [row.rev for row in revisions.between(session, "f26", begin, end, limit=1)]

    assert found == revs[1:]
    assert first == revs[1:2]


def test_revisions_of_a_package_are_found_by_their_first_digits() -> None:
    """From either end, the oldest first."""
    revs = [f"{number}" * 40 for number in range(4)]
    for hours, rev in enumerate(revs):
        add(change(rev=rev), NOON + timedelta(hours=hours))
        add(change("hostinfo", rev=rev), NOON + timedelta(hours=hours))
    with store.session() as session:
        found = [row.rev for row in revisions.from_to(session, PLACE, "222", "111", limit=10)]

    assert found == revs[1:3]


@pytest.mark.parametrize(("rev", "sentence"), [("3", "more than one known revision"), ("%", "no known revision")])
def test_digits_that_name_no_one_revision_are_refused(rev: str, sentence: str) -> None:
    """And nothing in them is a pattern."""
    add(change())
    add(change(rev="3" * 40))

    with store.session() as session, pytest.raises(StoreError, match=f"{sentence} of rpms/greeter on f26 begins with"):
        revisions.from_to(session, PLACE, rev, REV, limit=10)


def test_the_newest_of_a_package_come_the_oldest_first() -> None:
    """In the order they are run in."""
    revs = [f"{number}" * 40 for number in range(4)]
    for hours, rev in enumerate(revs):
        add(change(rev=rev), NOON + timedelta(hours=hours))
    with store.session() as session:
        found = [row.rev for row in revisions.newest_of(session, PLACE, limit=2)]

    assert found == revs[2:]
