"""`results` with filters lists what the API would."""

import json

import pytest

from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from tests.cli.conftest import Cli
from tests.makers import new_run, play

pytestmark = pytest.mark.usefixtures("database")

NVR = "greeter-1.0-1.3.35fdde9.fc26"


@pytest.fixture
def _played(current: Settings) -> None:
    """Two runs: one whose tests are UNSTABLE, one that only built."""
    play(current, new_run(), Status.SUCCESS, Status.UNSTABLE)
    play(current, new_run("hostinfo"), Status.SUCCESS)


def test_nothing_found_is_said(cli: Cli) -> None:
    """A sentence for people, an empty list for programs."""
    assert cli("results", "--nvr", "nothing").stdout == "no such results\n"
    assert json.loads(cli("results", "--nvr", "nothing", "--json").stdout) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--stage", "build"], "'build' is none of build_package, "),
        (["--outcome", "success"], "'success' is none of SUCCESS, "),
        (["--since", "yesterday"], "'yesterday' is no time"),
        (["--until", "0001-01-01"], "is no time"),
        (["--run", "f26/9", "--nvr", "x"], "no run f26/9"),
    ],
)
def test_a_wrong_filter_is_refused_with_what_is_allowed(cli: Cli, words: list[str], sentence: str) -> None:
    """And with an exit status that is no success."""
    result = cli("results", *words)

    assert result.exit_code != 0
    assert sentence in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.usefixtures("_played")
@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["--nvr", NVR, "--stage", "build_package"], ["f26/2/build_package/1", "f26/1/build_package/1"]),
        (["--outcome", "UNSTABLE"], ["f26/1/functional_tests/1"]),
        (["--repo", "hostinfo", "--run", "f26/1"], []),
        (["--branch", "f26", "--limit", "1"], ["f26/2/build_package/1"]),
        (["--since", "2020-01-01", "--repo", "hostinfo"], ["f26/2/build_package/1"]),
        (["--until", "2020-01-01T00:00:00Z"], []),
    ],
)
def test_results_are_listed_by_filter(cli: Cli, words: list[str], ids: list[str]) -> None:
    """Of all runs, the newest first."""
    assert [one["id"] for one in json.loads(cli("results", *words, "--json").stdout)] == ids


@pytest.mark.usefixtures("_played")
def test_people_get_a_table(cli: Cli) -> None:
    """With what it was about, how it ended and why."""
    line = cli("results", "--outcome", "UNSTABLE").stdout.splitlines()[-1]

    assert line.split()[:3] == ["f26/1/functional_tests/1", NVR, "UNSTABLE"]
    assert line.endswith("because")


@pytest.mark.usefixtures("_played")
def test_without_a_filter_a_run_is_shown(cli: Cli) -> None:
    """The newest, or the one that is named."""
    assert json.loads(cli("results", "--json").stdout)["id"] == "f26/2"
    assert json.loads(cli("results", "--run", "f26/1", "--json").stdout)["id"] == "f26/1"
