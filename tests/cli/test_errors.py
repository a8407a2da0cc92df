"""What goes wrong ends in one sentence on standard error, an exit status, and no traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ci_pipeline import settings
from ci_pipeline.cli import app
from ci_pipeline.cli.app import COMMANDS, commands_of
from tests.cli.conftest import Cli


@pytest.fixture
def _fresh_settings() -> object:
    settings.current.cache_clear()
    yield
    settings.current.cache_clear()


@pytest.mark.usefixtures("_fresh_settings")
def test_a_wrong_setting_ends_with_2_and_names_the_key(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator is told which key to fix."""
    monkeypatch.setenv("CI_PIPELINE_IMAGE__INTERVAL_HOURS", "soon")

    result = cli("runs")

    assert result.exit_code == 2
    assert "image.interval_hours" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("_fresh_settings")
def test_a_database_that_is_away_ends_with_1_and_advice(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that need the stack say how to start it."""
    monkeypatch.setenv("CI_PIPELINE_DATABASE__URL", "postgresql+psycopg2://nobody@127.0.0.1:1/nothing")

    result = cli("runs")

    assert result.exit_code == 1
    assert "`ci-pipeline up`" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("command", [("results", "--run"), ("messages", "--run"), ("watch",)])
def test_an_unknown_run_ends_with_1(cli: Cli, command: tuple[str, ...]) -> None:
    """A mistyped run is named, and how to find the right one."""
    result = cli(*command, "f26/77")

    assert result.exit_code == 1
    assert "f26/77" in result.stderr
    assert "ci-pipeline runs" in result.stderr


@pytest.mark.parametrize("command", ["status", "password"])
def test_without_a_stack_it_says_to_start_one(
    cli: Cli, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing was ever started, the first step is named."""
    monkeypatch.setenv("CI_PIPELINE_STATE", str(tmp_path))

    result = cli(command)

    assert result.exit_code == 1
    assert "`ci-pipeline up`" in result.output


def test_down_without_a_stack_is_fine(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping what does not run is no error."""
    monkeypatch.setenv("CI_PIPELINE_STATE", str(tmp_path / "never"))

    result = cli("down", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["stopped"] == []


def test_a_command_there_is_not_is_misuse_and_what_is_alike_is_named(cli: Cli) -> None:
    """Also where the commands that are alike were not looked at yet."""
    result = cli("revision", "import")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "No such command 'revision'. Did you mean 'revisions'?" in result.stderr


@pytest.mark.parametrize("module", COMMANDS)
def test_the_list_of_commands_is_what_their_modules_have(module: str) -> None:
    """By it the module of a command is found; what it leaves out could not be called."""
    assert tuple(commands_of(module)) == COMMANDS[module]


def test_every_module_of_commands_is_listed() -> None:
    """One that was forgotten would have no commands."""
    files = Path(app.__file__).parent.glob("*.py")
    registering = {file.stem for file in files if "\ndef register(" in file.read_text(encoding="utf-8")}

    assert registering == set(COMMANDS)


def test_a_command_does_not_import_the_others() -> None:
    """All of them take longer to import than most commands take to run."""
    asked = "import sys; from ci_pipeline.cli.app import app; app(['why', '--help'], standalone_mode=False)"
    loaded = f"{asked}; print(*sorted(name for name in sys.modules if name.startswith('ci_pipeline.cli.')))"
    ran = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)

    names = {name.rpartition(".")[2] for name in ran.stdout.splitlines()[-1].split()}
    assert names & set(COMMANDS) == {"why_command"}
