"""Storms: who storms, since when, until when."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from ci_pipeline import audit, store
from ci_pipeline.settings import Settings
from ci_pipeline.store import storms
from ci_pipeline.store.storm_tables import Storm
from ci_pipeline.store.tables import Inbound, Run
from tests.storm import PACKAGES, lanes_of, push_of, rebuild, stormy, take_up, waiting

pytestmark = pytest.mark.usefixtures("database")


def pass_by(minutes: float) -> None:
    """Let everything that arrived have arrived so much earlier."""
    with store.session() as session:
        session.execute(update(Inbound).values(received_at=Inbound.received_at - timedelta(minutes=minutes)))


def calm_down(settings: Settings) -> list[str]:
    """Return whose storms are over."""
    with store.session() as session:
        return [storm.account for storm in storms.calm_down(session, settings.storm)]


def going_on() -> list[str]:
    """Return whose storms go on."""
    with store.session() as session:
        return [storm.account for storm in storms.going_on(session)]


def test_a_few_changes_are_no_storm(current: Settings) -> None:
    """As many as the setting says run at once."""
    rebuild(stormy(current, changes=3), 3)

    assert lanes_of() == ["live"] * 3
    assert going_on() == []


def test_further_ones_wait(current: Settings) -> None:
    """The first few are on their way already; in one batch or in several."""
    settings = stormy(current, changes=3)
    rebuild(settings, 5)
    take_up(settings, push_of(PACKAGES[5]))

    assert lanes_of() == ["live"] * 3 + ["storm"] * 3
    assert waiting() == PACKAGES[:3]
    assert going_on() == ["releng"]


def test_what_others_push_meanwhile_does_not_wait(current: Settings) -> None:
    """Also of a package that the storm pushed before."""
    settings = stormy(current, changes=1)
    rebuild(settings, 4)
    take_up(settings, push_of("greeter", by="alice"), push_of(PACKAGES[3], by="bob", name="a fix"))

    assert waiting() == [PACKAGES[0], "greeter", PACKAGES[3]]


def test_a_change_that_takes_the_place_of_a_live_one_is_live(current: Settings) -> None:
    """What a packager waits for is in the rebuild that was pushed on top of it."""
    settings = stormy(current, changes=1)
    rebuild(settings, 2)
    take_up(settings, push_of(PACKAGES[7], by="alice"))
    take_up(settings, push_of(PACKAGES[7], name="rebuilt"), push_of(PACKAGES[8]))

    assert lanes_of() == ["live", "storm", "live", "live", "storm"]
    assert waiting() == [PACKAGES[0], PACKAGES[7]]


def test_one_change_of_several_branches_is_one(current: Settings) -> None:
    """A packager who pushes a revision to all branches does not storm."""
    settings = stormy(current, changes=2)
    take_up(settings, *(push_of(repo, branch=branch) for repo in PACKAGES[:2] for branch in ("f26", "main")))

    assert lanes_of() == ["live"] * 4


def test_what_is_not_run_does_not_count(current: Settings) -> None:
    """Pushes of packages that are not watched, and messages that come twice."""
    settings = stormy(current, changes=2)
    take_up(settings, *(push_of(f"stranger-{number}") for number in range(9)), push_of("greeter"), push_of("greeter"))
    take_up(settings, push_of("hostinfo"))

    assert lanes_of() == ["live"] * 2


def test_repeats_leave_one_run(current: Settings) -> None:
    """A package that is pushed again and again waits once, and each that was given up has its end."""
    settings = stormy(current, changes=1)
    rebuild(settings, 2)
    take_up(settings, *(push_of("greeter", name=str(number)) for number in range(5)))
    with store.session() as session:
        ended = list(session.scalars(select(Run.status).where(Run.repo == "greeter").order_by(Run.id)))
        left = session.scalar(select(func.count()).where(Run.status.is_(None)))

    assert ended == ["ABORTED"] * 4 + [None]
    assert left == 3
    assert audit.audit().findings == ()


def test_messages_that_name_nobody_are_one_account(current: Settings) -> None:
    """So is what catching up with dist-git finds after a mass rebuild that the bus lost."""
    settings = stormy(current, changes=2)
    rebuild(settings, 3, by="")

    assert lanes_of() == ["live", "live", "storm"]
    assert storms.name_of(going_on()[0]) == "an account that is not named"


def test_accounts_that_always_wait_and_those_that_never_do(current: Settings) -> None:
    """As the settings name them, however much or little they push."""
    settings = stormy(current, changes=1, always=["bot"], never=["releng"])
    rebuild(settings, 3)
    take_up(settings, push_of("greeter", by="bot"))

    assert lanes_of() == ["live", "live", "live", "storm"]
    assert going_on() == []


def test_it_ends_when_half_as_much_is_pushed(current: Settings) -> None:
    """Not before: an account about the limit would storm and calm down again and again."""
    settings = stormy(current, changes=4)
    rebuild(settings, 3)
    pass_by(20)
    rebuild(settings, 7)

    assert calm_down(settings) == []

    pass_by(15)

    assert calm_down(settings) == []

    pass_by(20)

    assert calm_down(settings) == ["releng"]
    assert going_on() == []


def test_afterwards_what_is_pushed_runs_at_once(current: Settings) -> None:
    """What the storm left waiting goes on waiting for its turn; another storm is another row."""
    settings = stormy(current, changes=1)
    rebuild(settings, 3)
    pass_by(31)
    calm_down(settings)
    take_up(settings, push_of("greeter"))

    assert lanes_of() == ["live", "storm", "storm", "live"]

    take_up(settings, push_of("hostinfo"))
    with store.session() as session:
        told = [(row.account, row.calmed_at is None) for row in session.scalars(select(Storm).order_by(Storm.id))]

    assert lanes_of()[-1] == "storm"
    assert told == [("releng", False), ("releng", True)]


def test_who_is_never_to_wait_calms_down_at_once(current: Settings) -> None:
    """As soon as the setting is read."""
    rebuild(stormy(current, changes=1), 2)

    assert calm_down(stormy(current, changes=1, never=["releng"])) == ["releng"]
