"""What the pages show of a storm."""

import pytest
from fastapi.testclient import TestClient

from ci_pipeline import store
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs
from tests.makers import new_run, play
from tests.storm import PACKAGES, push_of, rebuild, stormy, take_up
from tests.ui.test_pages import EVIL, main

pytestmark = pytest.mark.usefixtures("database")


def test_the_bus_page_says_nothing_of_a_quiet_lane(client: TestClient) -> None:
    """As it is on most days."""
    assert "Storm" not in main(client, "bus")


def test_the_bus_page_shows_who_storms_and_how_it_drains(client: TestClient, current: Settings) -> None:
    """An account is what a message says, whatever that is."""
    rebuild(stormy(current, changes=1), 4, by=EVIL)
    shown = main(client, "bus")

    assert "3 changes wait for their turn behind what others push; 0 run, 0 ended within the last hour" in shown
    assert "how long they take is not known yet: none has ended within the last hour." in shown
    assert "<script>" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown


def test_the_page_of_a_change_says_why_it_waits(client: TestClient, current: Settings) -> None:
    """Its place, and what lets it go."""
    rebuild(stormy(current, changes=1), 4)

    assert "with very many changes that releng pushed: number 2 of 3;" in main(client, "change/f26/3")


def test_a_storm_does_not_hide_what_goes_on(client: TestClient, current: Settings) -> None:
    """What waits is counted; its package is shown as its last change left it."""
    ended = new_run(PACKAGES[0])
    play(current, ended, Status.FAILURE)
    with store.session() as session:
        Journal(session, current).finish_run(runs.locked(session, ended.id))
    settings = stormy(current, changes=0, never=["alice"])
    rebuild(settings, 3)
    take_up(settings, push_of("greeter", by="alice"))
    shown = main(client, "")

    assert "3 changes wait for their turn and are not shown here" in shown
    assert f"/change/f26/{ended.number}" in shown
    assert "rpms/greeter" in shown
    assert f"rpms/{PACKAGES[1]}" not in shown
