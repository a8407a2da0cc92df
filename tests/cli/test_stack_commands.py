"""`status` and `password` against the session's servers, which run without Airflow."""

import json
from pathlib import Path

import pytest

from ci_pipeline import cancel
from ci_pipeline.outcome import Status
from ci_pipeline.settings import ENV_FILE_VARIABLE, Settings, env_file
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


def test_a_container_shows_what_waits_and_leaves_the_parts_to_its_engine(
    cli: Cli, current: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no stack of this machine's to be down."""
    new_run("hostinfo")
    monkeypatch.setenv(ENV_FILE_VARIABLE, str(env_file()))
    told, structured = cli("status"), json.loads(cli("status", "--json").stdout)

    assert told.exit_code == 0
    assert "`docker compose ps` shows how they are" in told.stdout
    assert structured["work"]["not_fired"] == 1


@pytest.mark.parametrize("command", ["up", "down"])
def test_a_container_starts_and_stops_no_stack(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """It says who does."""
    monkeypatch.setenv(ENV_FILE_VARIABLE, str(tmp_path / "stack.env"))
    refused = cli(command)

    assert refused.exit_code == 1
    assert f"run `docker compose {command}` outside" in " ".join(refused.stderr.split())


def test_only_password_shows_the_password(cli: Cli, current: Settings) -> None:
    """It is in the output of no other command."""
    secret = current.airflow.password.get_secret_value()
    play(current, new_run(), Status.SUCCESS)

    shown = cli("password").stdout
    others = [cli(*words).output for words in (["status"], ["status", "--json"], ["runs"], ["results"], ["messages"])]

    assert f"password: {secret}" in shown
    assert "username: admin" in shown
    assert not [text for text in others if secret in text]
