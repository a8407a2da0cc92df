"""`runs`, `results`, `images` and `watch` show what the database holds."""

import io
import json
import threading
from collections.abc import Callable

import pytest
from rich.console import Console

from ci_pipeline import store
from ci_pipeline.cli import follow, live
from ci_pipeline.executors.report import Report
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE, CONFIGURE_CLUSTER, PROVISION_HOSTS, STAGES
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Run
from tests.cli.conftest import Cli
from tests.makers import new_run, play, reuse_build

pytestmark = pytest.mark.usefixtures("database")

REPORT = Report.model_validate(
    {
        "status": "UNSTABLE",
        "reason": "1 of 2 tests failed: languages",
        "outputs": {"nvr": "greeter-1.0-1.3.35fdde9.fc26", "commit_subject": "\x1b[31mred"},
        "artifacts": [{"name": "build.log", "path": "/a/build.log", "kind": "log", "sha256": "0" * 64, "size": 2048}],
        "tests": [
            {"name": "greets", "outcome": "passed", "seconds": 0.5, "message": ""},
            {"name": "languages", "outcome": "failed", "seconds": 1.5, "message": "no Finnish\nsecond line"},
        ],
        "tool_seconds": 1.25,
    }
)


def end(settings: Settings, run: Run) -> None:
    """Say the run's complete."""
    with store.session() as session:
        Journal(session, settings).finish_run(runs.locked(session, run.id))


def build(settings: Settings, run: Run, report: Report) -> None:
    """Let the build begin and end with a report."""
    with store.session() as session:
        journal, row = Journal(session, settings), runs.locked(session, run.id)
        journal.begin_stage(row, BUILD_PACKAGE, 1)
        journal.finish_stage(row, BUILD_PACKAGE, 1, report, final=True)


@pytest.mark.parametrize(("command", "said"), [("runs", "no runs yet"), ("images", "no images yet")])
def test_nothing_yet_is_said(cli: Cli, command: str, said: str) -> None:
    """An empty database is a sentence for people and an empty list for programs."""
    assert said in cli(command).stdout
    assert json.loads(cli(command, "--json").stdout) == []


def test_results_without_a_run_end_with_1(cli: Cli) -> None:
    """There is nothing to show, and that is said."""
    result = cli("results")

    assert result.exit_code == 1
    assert "no runs yet" in result.stderr


@pytest.mark.parametrize("command", [("results", "--run"), ("results", "--repo", "greeter", "--run"), ("why",)])
def test_a_reused_build_names_the_run_that_made_it(cli: Cli, current: Settings, command: tuple[str, ...]) -> None:
    """Wherever its result is told."""
    origin, run = new_run(), new_run(rev="a" * 40)
    play(current, origin, Status.SUCCESS)
    reuse_build(current, run, origin)

    assert "reused from run f26/1" in " ".join(cli(*command, "f26/2").stdout.split())
    assert "reused from" not in cli(*command, "f26/1").stdout


@pytest.mark.parametrize("status", [Status.FAILURE, Status.UNSTABLE])
def test_watch_ends_with_1_unless_the_run_ended_well(cli: Cli, current: Settings, status: Status) -> None:
    """A script can rely on the exit status."""
    run = new_run()
    build(current, run, Report(status=status, reason="because", fault=Fault.PACKAGE))
    end(current, run)

    result = cli("watch", run.run_id)

    assert result.exit_code == 1
    assert "because" in result.stdout


def test_watch_goes_on_until_the_run_has_ended(cli: Cli, current: Settings) -> None:
    """It follows a run through what happens while it looks."""
    new_run("hostinfo")
    run = new_run()
    play(current, run, Status.SUCCESS)

    def go_on() -> None:
        play(current, run, *[Status.SUCCESS] * (len(STAGES) - 1), first=1)
        end(current, run)

    later = threading.Timer(1.2, go_on)
    later.start()
    result = cli("watch", run.run_id)
    later.join()

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    told = [line.split()[1] for line in lines if line.endswith("running")]
    assert told == [f"{stage.name}:" for stage in STAGES]
    assert "SUCCESS" in lines[-2]


def test_steps_that_had_nothing_to_do_are_one_line(cli: Cli, current: Settings) -> None:
    """The first of them says why; what the others made is told in words."""
    skipped, run = new_run("hostinfo"), new_run()
    play(current, skipped, *[Status.SUCCESS] * 6)
    with store.session() as session:
        Journal(session, current).skip_stage(runs.locked(session, skipped.id), PROVISION_HOSTS, 1, "no cluster")
    end(current, skipped)
    play(current, run, *[Status.SUCCESS] * 7)
    versions = {"cluster_versions": {"k3s": "v1.30.4"}}
    with store.session() as session:
        journal, row = Journal(session, current), runs.locked(session, run.id)
        journal.begin_stage(row, CONFIGURE_CLUSTER, 1)
        journal.finish_stage(row, CONFIGURE_CLUSTER, 1, Report(status=Status.SUCCESS, outputs=versions), final=True)
    told = [cli("results", "--run", one.run_id).stdout for one in (skipped, run)]

    assert told[0].count("no cluster") == 1
    assert "configure_cluster" not in told[0]
    assert "k3s v1.30.4" in told[1]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What happens after each look at the database; after the last one, Ctrl-C."""
    steps: list[Callable[[], None]] = []

    def sleep(_: float) -> None:
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    monkeypatch.setattr(follow.time, "sleep", sleep)
    return steps


def test_watch_without_a_run_tells_what_goes_on_until_it_is_ended(
    cli: Cli, current: Settings, looks: list[Callable[[], None]]
) -> None:
    """A line whenever a change moves; Ctrl-C is a clean end."""
    first = new_run()
    second = new_run("hostinfo", branch="rawhide")

    def go_on() -> None:
        play(current, first, Status.SUCCESS)

    looks += [go_on, lambda: end(current, second), lambda: None]
    result = cli("watch")

    assert result.exit_code == 0
    assert [line.split(maxsplit=1)[1] for line in result.stdout.splitlines()] == [
        "rpms/greeter 35fdde9 f26 (f26/1): queued",
        "rpms/hostinfo 35fdde9 rawhide (rawhide/1): queued",
        "rpms/greeter 35fdde9 f26 (f26/1): build_package SUCCESS",
        "rpms/hostinfo 35fdde9 rawhide (rawhide/1): ended; `ci-pipeline why` tells how",
    ]


def test_watch_is_a_table_on_a_terminal(
    cli: Cli, current: Settings, looks: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Package, branch, stage, how long, status."""
    play(current, new_run(), Status.SUCCESS)
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=150, no_color=True)
    monkeypatch.setattr(live, "out", terminal)

    result = cli("watch")

    assert result.exit_code == 0
    assert "rpms/greeter" in shown.getvalue()
    assert "build_package" in shown.getvalue()
    assert "since it arrived" in shown.getvalue()


def test_watch_as_json_is_a_line_per_change(cli: Cli, current: Settings, looks: list[Callable[[], None]]) -> None:
    """Looks at which nothing has changed are none."""
    run = new_run()
    looks += [lambda: None, lambda: play(current, run, Status.SUCCESS), lambda: None]

    lines = [json.loads(line) for line in cli("watch", "--json").stdout.splitlines()]

    assert [[one["verdict"]["state"] for one in line["going_on"]] for line in lines] == [["queued"], ["running"]]


def test_runs_are_listed_newest_first(cli: Cli, current: Settings) -> None:
    """With what is known of each; one that was not fired is queued."""
    first, second = new_run(), new_run("hostinfo")
    build(current, first, Report(status=Status.FAILURE, reason="%check failed", fault=Fault.PACKAGE))
    end(current, first)

    listed = json.loads(cli("runs", "--json").stdout)
    shown = cli("runs").stdout

    assert [one["run"] for one in listed] == [second.run_id, first.run_id]
    assert [one["status"] for one in listed] == [None, "FAILURE"]
    assert {one["lane"] for one in listed} == {"live"}
    assert shown.index("queued") < shown.index("build_package: %check failed")


def test_runs_can_be_chosen_by_branch(cli: Cli) -> None:
    """Only those of the branch."""
    new_run()
    rawhide = new_run(branch="rawhide")

    listed = json.loads(cli("runs", "--branch", "rawhide", "--json").stdout)

    assert [one["run"] for one in listed] == [rawhide.run_id]


@pytest.mark.parametrize("name", ["f26/1", None])
def test_results_have_everything_a_stage_reported(cli: Cli, current: Settings, name: str | None) -> None:
    """Status, reason, outputs, every test, every artifact with its checksum and size."""
    run = new_run()
    build(current, run, REPORT)

    result = json.loads(cli("results", *(["--run", name] if name else []), "--json").stdout)

    (stage,) = result["stages"]
    assert result["run"] == run.run_id
    assert (stage["stage"], stage["status"], stage["reason"]) == ("build_package", "UNSTABLE", REPORT.reason)
    assert (stage["outputs"], stage["tool_seconds"]) == (REPORT.outputs, 1.25)
    lately = [None, {"runs": 1, "flakes": 0}]
    tested = [test.model_dump(mode="json") for test in REPORT.tests]
    assert stage["tests"] == [test | {"flaky": rate} for test, rate in zip(tested, lately, strict=True)]
    shown = [{key: value for key, value in one.items() if key != "url"} for one in stage["artifacts"]]
    assert shown == [one.model_dump(mode="json") for one in REPORT.artifacts]
    assert stage["artifacts"][0]["url"].startswith(f"{current.airflow.url}/ci-pipeline-logs/ci-pipeline-f26/")


def test_what_a_package_says_cannot_steer_the_terminal(cli: Cli, current: Settings) -> None:
    """An escape sequence in what a packager wrote is shown with a question mark."""
    build(current, new_run(), REPORT)

    shown = cli("results").stdout

    assert "\x1b" not in shown
    assert "?[31mred" in shown
    assert "second line" not in shown


def test_images_show_whether_they_boot(cli: Cli, current: Settings) -> None:
    """An image whose smoke test has not passed has no time for it."""
    play(current, new_run(), *[Status.SUCCESS] * 5)
    play(current, new_run("hostinfo"), *[Status.SUCCESS] * 6)

    booted, not_booted = json.loads(cli("images", "--json").stdout)

    assert booted["smoke_passed_at"] is not None
    assert not_booted["smoke_passed_at"] is None
    assert booted["size"] == 20_000_000
    assert "19.1 MiB" in cli("images").stdout
