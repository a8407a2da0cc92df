"""`audit`, `dead` and `catch-up` say what is lost, and their exit status tells a script."""

import json
from pathlib import Path

import pytest
from sqlalchemy import delete

from ci_pipeline import settings, store
from ci_pipeline.intake import Intake
from ci_pipeline.settings import Settings
from ci_pipeline.store.tables import Run
from tests.buses import publish_by
from tests.cli.conftest import Cli
from tests.distgit import DistGit
from tests.makers import pushed, received

pytestmark = pytest.mark.usefixtures("database")


def take_up(current: Settings, raw: bytes) -> None:
    """Let the intake take up a message."""
    Intake(current, trigger_run_id="x").record([received(raw)])


def test_an_audit_that_finds_something_ends_with_1(cli: Cli, current: Settings) -> None:
    """People see a table, programs the same rows."""
    Intake(current, trigger_run_id="x").record([pushed()])
    publish_by()
    with store.session() as session:
        session.execute(delete(Run))
    told, data = cli("audit"), cli("audit", "--json")

    assert (told.exit_code, data.exit_code) == (1, 1)
    assert "message 1" in told.stdout
    assert told.stdout.endswith("1 messages: 1 queued; 0 runs (0 going on), 0 completes; 1 offences\n")
    assert json.loads(data.stdout)["findings"] == [
        {"check": "queued without run", "what": "message 1", "sentence": "it has no run"}
    ]


def test_an_audit_that_finds_nothing_is_one_line(cli: Cli) -> None:
    """And ends well."""
    result = cli("audit")

    assert result.exit_code == 0
    assert result.stdout == "0 messages: none; 0 runs (0 going on), 0 completes; all accounted for\n"


def test_how_long_a_message_may_wait_can_be_said(cli: Cli, current: Settings) -> None:
    """With no patience at all, what was written just now is late."""
    Intake(current, trigger_run_id="x").record([pushed()])

    assert cli("audit").exit_code == 0
    assert cli("audit", "--patience", "0").exit_code == 1


@pytest.mark.parametrize("command", ["show", "replay"])
def test_a_letter_that_is_none_ends_with_1(cli: Cli, command: str) -> None:
    """And it is said where to look."""
    result = cli("dead", command, "7")

    assert result.exit_code == 1
    assert "`ci-pipeline dead list`" in result.stderr


def test_no_letters_is_said(cli: Cli) -> None:
    """A sentence for people, an empty list for programs."""
    assert cli("dead", "list").stdout == "no dead letters and nothing parked\n"
    assert json.loads(cli("dead", "list", "--json").stdout) == []


def test_a_dead_letter_cannot_steer_the_terminal(cli: Cli, current: Settings) -> None:
    """It is hostile; programs get it as it is."""
    take_up(current, b"\x1b[2J{")
    shown = cli("dead", "show", "1").stdout

    assert "\x1b" not in shown
    assert "?[2J{" in shown
    assert json.loads(cli("dead", "show", "1", "--json").stdout)["body"] == "\x1b[2J{"


def test_a_letter_is_listed_and_replayed(cli: Cli, current: Settings) -> None:
    """The outcome is said, also when it stays dead."""
    take_up(current, b"{")
    listed = cli("dead", "list").stdout
    replayed = cli("dead", "replay", "1")

    assert "dead letter" in listed
    assert "the message is not JSON" in listed
    assert replayed.exit_code == 0
    assert replayed.stdout.startswith("message 1 is still dead: the message is not JSON")


def test_catching_up_tells_what_it_found(cli: Cli, servers: object, tmp_path: Path) -> None:
    """What is new to us is left alone unless all is wanted."""
    distgit = DistGit(tmp_path)
    rev = distgit.commit("greeter", {"README": "x"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CI_PIPELINE_DIST_GIT__URL", distgit.url)
        settings.current.cache_clear()
        left, queued = cli("catch-up"), cli("catch-up", "--all", "--json")
    settings.current.cache_clear()

    assert left.stdout.startswith(f"new to us: rpms/greeter {rev[:7]} f26\n")
    assert (left.exit_code, queued.exit_code) == (0, 0)
    assert [change["rev"] for change in json.loads(queued.stdout)["queued"]] == [rev]


def test_a_dist_git_that_is_away_ends_with_1(cli: Cli, servers: object) -> None:
    """Each package that could not be looked at is named."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CI_PIPELINE_DIST_GIT__URL", "http://127.0.0.1:9")
        settings.current.cache_clear()
        result = cli("catch-up")
    settings.current.cache_clear()

    assert result.exit_code == 1
    assert "rpms/greeter: " in result.stderr
    assert result.stdout == "0 missed and queued, 0 known, 2 could not be looked at\n"
