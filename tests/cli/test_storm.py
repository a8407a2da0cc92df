"""`storm` shows what waits for its turn, and lets one go before it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from ci_pipeline import intake, settings
from ci_pipeline.airflow_api import AirflowApi
from tests.storm import lanes_of, rebuild, stormy

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def fired(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the runs that an api-server was asked to start."""
    ids: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        ids.append(json.loads(request.content)["dag_run_id"])
        return httpx.Response(200)

    transport = httpx.MockTransport(handle)
    monkeypatch.setattr(intake, "AirflowApi", lambda settings: AirflowApi(settings, transport=transport))
    return ids


@pytest.fixture
def held_back(current: settings.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of releng that is live, and five that wait; the lane takes two."""
    monkeypatch.setenv("CI_PIPELINE_STORM__AT_ONCE", "2")
    settings.current.cache_clear()
    rebuild(stormy(current, changes=1), 6)


def test_there_is_no_storm(cli: Cli, servers: object) -> None:
    """Nor does anything wait."""
    shown = cli("storm")

    assert (shown.exit_code, shown.stdout) == (0, "no storm, and nothing waits for its turn\n")


@pytest.mark.usefixtures("held_back")
def test_who_storms_and_what_waits_is_shown(cli: Cli) -> None:
    """With how long it takes, once that can be known."""
    shown, told = cli("storm").stdout, json.loads(cli("storm", "--json").stdout)

    assert "releng" in shown
    assert "5 wait, 0 run, 0 ended within the last hour; how long they take is not known yet" in shown
    assert (told["waiting"], told["seconds_left"]) == (5, None)
    assert [(one["account"], one["waiting"]) for one in told["accounts"]] == [("releng", 5)]


@pytest.mark.usefixtures("held_back")
def test_status_tells_of_it(cli: Cli) -> None:
    """What waits for its turn is not what Airflow was to be told of by now."""
    shown, told = cli("status").stdout, json.loads(cli("status", "--json").stdout)["work"]

    assert "5 wait, 0 run" in shown
    assert told["not_fired"] == 1
    assert told["storm"]["waiting"] == 5


def test_status_says_nothing_of_a_quiet_lane(cli: Cli, servers: object) -> None:
    """As it is on most days."""
    assert "storm" not in cli("status").stdout


@pytest.mark.usefixtures("held_back")
def test_why_tells_place_and_time(cli: Cli) -> None:
    """And what lets it go now."""
    shown = cli("why", "f26/4").stdout

    assert "Next: It waits for its turn behind what others push, with very many changes that releng pushed:" in shown
    assert "number 3 of 5; when it begins is not known yet. `ci-pipeline storm release f26/4`" in shown


@pytest.mark.usefixtures("held_back")
def test_one_is_let_go(cli: Cli, fired: list[str]) -> None:
    """Before its turn; with it go those whose turn it is."""
    shown = cli("storm", "release", "f26/6")

    assert shown.stdout.endswith("-storm: it goes on\n")
    assert lanes_of() == ["live", "storm", "storm", "storm", "storm", "live"]
    assert [run_id.split("-f26-")[1] for run_id in fired] == ["1", "6-storm", "2-storm", "3-storm"]


@pytest.mark.usefixtures("held_back")
def test_one_that_does_not_wait_is_refused(cli: Cli) -> None:
    """With where it stands."""
    shown = cli("storm", "release", "f26/1")

    assert shown.exit_code == 1
    assert "f26/1 is not held back: it is queued; `ci-pipeline storm` shows what waits" in shown.output
