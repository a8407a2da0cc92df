"""`why` answers in its first line, and its exit status tells a script."""

import json

import pytest

from ci_pipeline import store
from ci_pipeline.executors.report import Report
from ci_pipeline.intake import Intake
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE, FUNCTIONAL_TESTS
from ci_pipeline.store import runs
from tests.cli.conftest import Cli
from tests.makers import REV, new_run, play, pushed, received

pytestmark = pytest.mark.usefixtures("database")


def fail(settings: Settings, reason: str) -> None:
    """Let a pushed change fail in its build."""
    Intake(settings, trigger_run_id="x").record([pushed()])
    with store.session() as session:
        journal, run = Journal(session, settings), runs.get(session, "f26/1")
        journal.begin_stage(run, BUILD_PACKAGE, 1)
        report = Report(status=Status.FAILURE, reason=reason, fault=Fault.INFRASTRUCTURE)
        journal.finish_stage(run, BUILD_PACKAGE, 1, report, final=True)
        journal.finish_run(run)


def test_an_unknown_key_ends_with_1(cli: Cli) -> None:
    """And says what would be one."""
    result = cli("why", "nothing")

    assert result.exit_code == 1
    assert "nothing is known by 'nothing'; give a run id" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("as_json", [False, True])
def test_an_ambiguous_key_lists_what_it_may_mean(cli: Cli, *, as_json: bool) -> None:
    """With keys that are not."""
    new_run()
    new_run(branch="rawhide")

    result = cli("why", REV[:9], *(["--json"] if as_json else []))

    assert result.exit_code == 1
    assert "means 2 things" in result.stderr
    if as_json:
        assert [one["key"] for one in json.loads(result.stdout)["choices"]] == ["rawhide/1", "f26/1"]
    else:
        assert "rawhide/1" in result.stdout


@pytest.mark.parametrize("key", ["f26/1", REV, REV[:7], "m-1", "1"])
def test_the_first_line_says_whose_fault_it_is(cli: Cli, current: Settings, key: str) -> None:
    """By whatever name the change is asked for."""
    fail(current, "the network broke off")

    result = cli("why", key)

    assert result.exit_code == 0
    first, second, *_ = result.stdout.splitlines()
    assert first == "Red because of us, the infrastructure: build_package: the network broke off."
    assert second.startswith("Next: Nothing by itself: put right")


def test_the_trace_goes_from_the_message_to_what_was_said(cli: Cli, current: Settings) -> None:
    """In that order."""
    fail(current, "the network broke off")

    shown = cli("why", "f26/1").stdout
    places = [
        shown.index(word)
        for word in ("messages that arrived", "git.receive", "stages", "build_package  1", "messages said")
    ]

    assert places == sorted(places)
    assert "pipeline.complete" in shown


def test_the_json_has_the_whole_trace(cli: Cli, current: Settings) -> None:
    """Verdict, messages, tries, tests, files, what was said."""
    Intake(current, trigger_run_id="x").record([pushed()])
    with store.session() as session:
        run = runs.get(session, "f26/1")
    play(current, run, Status.SUCCESS)

    told = json.loads(cli("why", run.run_id, "--json").stdout)

    assert told["verdict"]["blame"] == ""
    assert told["nvr"] == "greeter-1.0-1.3.35fdde9.fc26"
    assert [one["stage"] for one in told["tries"]] == ["build_package"]
    assert told["messages"][0]["state"] == "queued"
    assert [one["event"] for one in told["said"]][:2] == ["package.queued", "package.running"]


def test_a_failed_test_is_told_with_how_it_did_lately(cli: Cli, current: Settings) -> None:
    """A test that passed on its rerun is among those that failed."""
    tests = [
        {"name": "shaky", "outcome": "passed-on-rerun", "message": "failed 1 of 2 times: no"},
        {"name": "steady", "outcome": "passed"},
    ]
    run = new_run()
    with store.session() as session:
        journal, row = Journal(session, current), runs.locked(session, run.id)
        journal.begin_stage(row, FUNCTIONAL_TESTS, 1)
        report = Report.model_validate({"status": "SUCCESS", "tests": tests})
        journal.finish_stage(row, FUNCTIONAL_TESTS, 1, report, final=True)

    shown, told = cli("why", "f26/1").stdout, json.loads(cli("why", "f26/1", "--json").stdout)
    line = next(line for line in shown.splitlines() if "shaky" in line)
    in_results = json.loads(cli("results", "--run", "f26/1", "--json").stdout)["stages"][0]["tests"]

    assert " ".join(line.split()) == (
        "functional_tests shaky passed-on-rerun flaky: 1 of its last 1 run failed 1 of 2 times: no"
    )
    assert "steady" not in shown
    for found in (told["tests"], in_results):
        assert [(one["name"], one["flaky"]) for one in found] == [("shaky", {"runs": 1, "flakes": 1}), ("steady", None)]


def test_a_dead_letter_is_explained(cli: Cli, current: Settings) -> None:
    """Although it names no change."""
    Intake(current, trigger_run_id="x").record([received(b"{")])

    assert cli("why", "1").stdout.startswith("Not run, because the message could not be read: ")


def test_what_a_package_says_cannot_steer_the_terminal(cli: Cli, current: Settings) -> None:
    """Not in the sentence, not in the tables."""
    fail(current, "\x1b[31mred")

    assert "\x1b" not in cli("why", "1").stdout
