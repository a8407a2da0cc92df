"""`status` and `password` against the session's servers, which run without Airflow."""

import json

import pytest

from ci_pipeline import cancel
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from tests.cli.conftest import Cli
from tests.makers import new_run, play

pytestmark = pytest.mark.usefixtures("database")


def test_status_ends_with_1_while_something_does_not_run(cli: Cli) -> None:
    """Every component that does not run comes with what to do."""
    result = cli("status", "--json")

    found = json.loads(result.stdout)
    dead = {one["name"]: one["advice"] for one in found["components"] if not one["healthy"]}
    assert result.exit_code == 1
    assert found["healthy"] is False
    assert {"scheduler", "api-server"} <= set(dead)
    assert all("ci-pipeline up" in advice for advice in dead.values())


def test_status_counts_what_waits(cli: Cli, current: Settings) -> None:
    """Messages that are not on the bus and changes that were not fired are seen at a glance."""
    new_run("hostinfo")
    play(current, new_run(), Status.SUCCESS)
    cancel.cancel(current, new_run("greeter", rev="7" * 40).run_id)

    work = json.loads(cli("status", "--json").stdout)["work"]

    assert work["not_fired"] == 2
    assert work["unpublished"] == 3
    assert (work["parked"], work["running"], work["problems"]) == (0, [], [])


def test_only_password_shows_the_password(cli: Cli, current: Settings) -> None:
    """It is in the output of no other command."""
    secret = current.airflow.password.get_secret_value()
    play(current, new_run(), Status.SUCCESS)

    shown = cli("password").stdout
    others = [cli(*words).output for words in (["status"], ["status", "--json"], ["runs"], ["results"], ["messages"])]

    assert f"password: {secret}" in shown
    assert "username: admin" in shown
    assert not [text for text in others if secret in text]
