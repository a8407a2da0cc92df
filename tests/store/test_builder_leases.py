"""Leases of builders: held while a try gives signs of life."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from ci_pipeline import store
from ci_pipeline.kind import Kind
from ci_pipeline.lane import Lane
from ci_pipeline.store import builder_leases, runs
from ci_pipeline.store.builder_leases import Ticket
from ci_pipeline.store.builder_tables import BuilderLease, SetAside
from tests.makers import change, new_run

if TYPE_CHECKING:
    from datetime import datetime

pytestmark = pytest.mark.usefixtures("database")


def ticket(rev: str = "1", try_number: int = 1, run: int = 0) -> Ticket:
    """Return the try of a new run, or of this one."""
    return Ticket(run=run or new_run(rev=rev * 40).id, stage="build_package", try_number=try_number)


def take(who: Ticket, builder: str = "a") -> str:
    """Take this builder, if nobody holds it; return which one is held."""

    def choose() -> tuple[str, str]:
        taken = builder in {one.builder for one in builder_leases.held(session)}
        return ("", "it is taken") if taken else (builder, "")

    with store.session() as session:
        return builder_leases.take(session, who, choose, machines=0, seconds=60).builder


def waits_for(who: Ticket) -> str:
    """Return what the run of a try waits for."""
    with store.session() as session:
        return builder_leases.waits_for(session, who.run)


def expire(who: Ticket) -> None:
    """Let the time of a lease be over: its holder died."""
    with store.session() as session:
        over = builder_leases.time_of(session) - timedelta(seconds=1)
        session.execute(update(BuilderLease).where(BuilderLease.run_id == who.run).values(expires_at=over))


def renew(who: Ticket) -> bool:
    """Renew a lease."""
    with store.session() as session:
        return builder_leases.renew(session, who, seconds=60)


def test_what_is_held_is_not_taken_twice() -> None:
    """It is free once it is given back."""
    first, second = ticket("1"), ticket("2")

    assert (take(first), take(second)) == ("a", "")
    assert (waits_for(first), waits_for(second)) == ("", "it is taken")

    with store.session() as session:
        builder_leases.release(session, first)

    assert take(second) == "a"
    assert waits_for(second) == ""


def test_who_holds_one_keeps_it() -> None:
    """Asking again is fine, whatever would be chosen now."""
    who = ticket()

    assert (take(who), take(who, "b")) == ("a", "a")


def test_the_lease_of_a_dead_holder_expires() -> None:
    """Another takes it, and the dead one, should it live, is told so."""
    dead, next_one = ticket("1"), ticket("2")
    take(dead)
    assert renew(dead)
    expire(dead)

    assert take(next_one) == "a"
    assert not renew(dead)
    assert renew(next_one)


def test_a_holder_that_was_thought_dead_takes_another() -> None:
    """Its own is gone."""
    slow, next_one = ticket("1"), ticket("2")
    take(slow)
    expire(slow)
    take(next_one)

    assert take(slow, "b") == "b"


def test_it_stays_known_where_the_earlier_tries_were() -> None:
    """Of the same stage and run."""
    first = ticket()
    second = ticket(try_number=2, run=first.run)
    take(first)
    with store.session() as session:
        builder_leases.release(session, first)
        earlier = builder_leases.earlier(session, second), builder_leases.earlier(session, first)

    assert earlier == ({"a"}, set())


def aside(reason: str = "it is away") -> datetime:
    """Set a builder aside for a minute; return until when."""
    with store.session() as session:
        return builder_leases.set_aside(session, "a", reason, seconds=60)


def test_a_builder_is_left_alone_twice_as_long_each_time() -> None:
    """Several stages that lose it together are one time; once it was reached it counts from the start."""
    first = aside()
    assert aside() == first
    with store.session() as session:
        now = builder_leases.time_of(session)
        session.execute(update(SetAside).values(until=now - timedelta(seconds=1)))
        before = builder_leases.aside(session)
    second = aside()
    with store.session() as session:
        builder_leases.reached(session, "a")
        after = builder_leases.aside(session)

    assert (before, after) == ([], [])
    assert timedelta(seconds=110) < second - now <= timedelta(seconds=121)
    assert aside() - now < timedelta(seconds=90)


def ticket_in(lane: Lane, digit: str, kind: Kind = Kind.PUSH) -> Ticket:
    """Return the try of a new run of a lane."""
    with store.session() as session:
        return ticket(run=runs.create(session, change(rev=digit * 40), kind=kind, lane=lane).id)


def ask(who: Ticket) -> str:
    """Ask for the only builder, as `turns.ask` does: it goes to nobody as long as others go first."""

    def choose() -> tuple[str, str]:
        is_free = not builder_leases.held(session) and not builder_leases.ahead(session, who)
        return ("a", "") if is_free else ("", "it is taken")

    with store.session() as session:
        return builder_leases.take(session, who, choose, machines=0, seconds=60).builder


def give_back(who: Ticket) -> None:
    """Let a try end."""
    with store.session() as session:
        builder_leases.release(session, who)


def pass_by(who: Ticket, *, waiting: timedelta = timedelta(0), silent: timedelta = timedelta(0)) -> None:
    """Let one that waits have waited so much longer, or be silent for so long."""
    with store.session() as session:
        later = {"acquired_at": BuilderLease.acquired_at - waiting, "expires_at": BuilderLease.expires_at - silent}
        session.execute(update(BuilderLease).where(BuilderLease.run_id == who.run).values(later))


def test_a_live_change_gets_the_next_builder_before_a_storm_that_waits() -> None:
    """And before a backfill, which comes after both; of a lane, who waits longest. What just asks passes nobody."""
    holder = ticket("9")
    past = ticket_in(Lane.LIVE, "1", Kind.BACKFILL)
    waiting = [past, *(ticket_in(lane, digit) for lane, digit in zip([Lane.STORM, Lane.LIVE] * 2, "2345", strict=True))]
    ask(holder)
    for who in waiting:
        ask(who)
    give_back(holder)
    newcomer = ticket("8")
    order = []
    while left := [who for who in (newcomer, *waiting) if who not in order]:
        order.append(next(who for who in left if ask(who)))
        give_back(order[-1])

    assert order == [waiting[2], waiting[4], newcomer, waiting[1], waiting[3], past]


def test_who_has_waited_for_an_hour_in_the_storm_lane_goes_before_what_is_pushed_now() -> None:
    """Nobody waits for ever; and that what it waits for is told in other words costs it nothing of its place."""
    holder, storm, live = ticket("1"), ticket_in(Lane.STORM, "2"), ticket_in(Lane.LIVE, "3")
    for who in (holder, storm):
        ask(who)
    pass_by(storm, waiting=timedelta(minutes=61))
    with store.session() as session:
        builder_leases.take(session, storm, lambda: ("", "it is away"), machines=0, seconds=60)
    told = waits_for(storm)
    ask(live)
    give_back(holder)

    assert told == "it is away"
    assert (ask(live), ask(storm)) == ("", "a")


def test_who_has_stopped_asking_for_a_builder_is_not_waited_for() -> None:
    """Its task was cancelled; should it ask again, it has its old place. Neither is a run that has ended."""
    holder, gone, ended = (ticket_in(Lane.LIVE, digit) for digit in "123")
    storm = ticket_in(Lane.STORM, "4")
    for who in (holder, gone, ended, storm):
        ask(who)
    pass_by(gone, silent=timedelta(seconds=16))
    with store.session() as session:
        runs.locked(session, ended.run).status = "ABORTED"
    give_back(holder)

    assert ask(storm) == "a"
    give_back(storm)
    newcomer = ticket("5")
    assert (ask(gone), ask(newcomer)) == ("a", "")


def test_who_goes_on_asking_keeps_its_place() -> None:
    """However long it takes."""
    holder, live, storm = ticket("1"), ticket_in(Lane.LIVE, "2"), ticket_in(Lane.STORM, "3")
    for who in (holder, live, storm):
        ask(who)
    for _ in range(3):
        pass_by(live, silent=timedelta(seconds=10))
        ask(live)
    give_back(holder)

    assert (ask(storm), ask(live)) == ("", "a")
