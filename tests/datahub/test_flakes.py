"""How often a test is flaky, of what the database has."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event

from ci_pipeline import store
from ci_pipeline.datahub import flakes
from ci_pipeline.datahub.flakes import FlakeRate
from ci_pipeline.executors.report import Report
from ci_pipeline.journal import Journal
from ci_pipeline.kind import Kind
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import CONFORMANCE_TESTS, FUNCTIONAL_TESTS, INTEGRATION_TESTS, Stage
from ci_pipeline.store import database as databases
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Run
from tests.makers import change

pytestmark = pytest.mark.usefixtures("database")

Tested = Callable[..., Run]


@pytest.fixture
def tested(current: Settings) -> Tested:
    """Return a function that has tests of a stage run, on a run of a new change unless one is given."""
    revs = (f"{number:040x}" for number in itertools.count(1))

    def test(run: Run | None = None, stage: Stage = FUNCTIONAL_TESTS, **how: Any) -> Run:
        status, tests = how.pop("status", Status.UNSTABLE), how.pop("tests")
        with store.session() as session:
            kind = how.pop("kind", Kind.PUSH)
            row = run or runs.create(session, change(how.pop("repo", "greeter"), rev=next(revs), **how), kind=kind)
            row = runs.locked(session, row.id)
            journal, number = Journal(session, current), 1 + sum(one.stage == stage.name for one in row.results)
            fault = Fault.INFRASTRUCTURE if status is Status.FAILURE else Fault.NONE
            report = Report.model_validate({"status": status, "fault": fault, "tests": tests})
            journal.begin_stage(row, stage, number)
            journal.finish_stage(row, stage, number, report, final=True)
            return row

    return test


def cases(**outcomes: str) -> list[dict[str, object]]:
    """Return tests with these outcomes."""
    return [{"name": name, "outcome": outcome.replace("_", "-")} for name, outcome in outcomes.items()]


def rates(*names: str, stage: Stage = FUNCTIONAL_TESTS, repo: str = "greeter") -> dict[str, tuple[int, int]]:
    """Return runs and flakes by name."""
    with store.session() as session:
        found = flakes.rates(session, stage=stage.name, branch="f26", namespace="rpms", repo=repo, names=names)
    return {name: (rate.runs, rate.flakes) for name, rate in found.items()}


def test_a_test_without_results_has_no_rate(tested: Tested) -> None:
    """Nor has one that was always skipped."""
    tested(tests=cases(a="passed", b="skipped"))

    assert rates("b", "c") == {}
    assert rates() == {}


def test_what_fails_and_never_passes_on_a_change_is_no_flake(tested: Tested) -> None:
    """It may have been broken by one change and mended by the next."""
    for outcome in ("passed", "failed", "error", "quarantined", "passed"):
        tested(tests=cases(a=outcome))

    assert rates("a") == {"a": (5, 0)}


def test_what_passed_on_a_rerun_is_a_flake(tested: Tested) -> None:
    """Whatever became of it before and after."""
    for outcome in ("passed", "passed_on_rerun", "failed", "passed_on_rerun"):
        tested(tests=cases(a=outcome, b="passed"))

    assert rates("a", "b") == {"a": (4, 2), "b": (4, 0)}


@pytest.mark.parametrize("bad", ["failed", "error", "quarantined"])
@pytest.mark.parametrize("good", ["passed", "passed_on_rerun"])
def test_a_change_on_which_it_failed_and_passed_is_a_flake(tested: Tested, bad: str, good: str) -> None:
    """In two tries of one run, or in two runs of one change."""
    run = tested(tests=cases(a=bad))
    tested(run, tests=cases(a=good))
    tested(tests=cases(a="passed"))

    assert rates("a") == {"a": (3, 2 if good == "passed_on_rerun" else 1)}


def test_two_runs_of_a_change_are_held_together(tested: Tested) -> None:
    """As when someone triggers it again."""
    first = tested(tests=cases(a="failed"))
    with store.session() as session:
        again = runs.create(session, runs.change_of(first), kind=Kind.MANUAL)
    tested(again, tests=cases(a="passed"))

    assert rates("a") == {"a": (2, 1)}


def test_two_tests_of_one_name_in_one_try_are_one_result(tested: Tested) -> None:
    """One that fails beside one that passes is no flake."""
    tested(tests=[*cases(a="passed"), *cases(a="failed")])

    assert rates("a") == {"a": (1, 0)}


def test_a_try_that_came_to_no_verdict_does_not_count(tested: Tested) -> None:
    """What failed there may have failed for the disk that ran full."""
    run = tested(tests=cases(a="failed"), status=Status.FAILURE)
    tested(run, tests=cases(a="passed"))

    assert rates("a") == {"a": (1, 0)}


def test_other_packages_branches_stages_and_backfills_do_not_count(tested: Tested) -> None:
    """A test of that name is another one there; a backfill tests an old revision."""
    tested(tests=cases(a="passed"))
    tested(tests=cases(a="passed_on_rerun"), repo="hostinfo")
    tested(tests=cases(a="passed_on_rerun"), branch="rawhide")
    tested(tests=cases(a="passed_on_rerun"), stage=INTEGRATION_TESTS)
    tested(tests=cases(a="passed_on_rerun"), kind=Kind.BACKFILL)

    assert rates("a") == {"a": (1, 0)}


def test_the_checks_of_a_host_are_the_same_for_all_packages(tested: Tested) -> None:
    """What a package brings to test the host is its own."""
    names = {"host: no service failed": "passed-on-rerun", "task": "passed-on-rerun"}
    tests = [{"name": name, "outcome": outcome} for name, outcome in names.items()]
    for repo in ("greeter", "hostinfo"):
        tested(tests=tests, stage=INTEGRATION_TESTS, repo=repo)

    assert rates(*names, stage=INTEGRATION_TESTS) == {"host: no service failed": (2, 2), "task": (1, 1)}


def test_conformance_tests_are_the_same_for_all_packages(tested: Tested) -> None:
    """They test the image."""
    for repo in ("greeter", "hostinfo"):
        tested(tests=cases(a="passed"), stage=CONFORMANCE_TESTS, repo=repo)

    assert rates("a", stage=CONFORMANCE_TESTS) == {"a": (2, 0)}


def test_only_the_newest_tries_count(tested: Tested, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that was mended is not called flaky for ever."""
    monkeypatch.setattr(flakes, "NEWEST", 3)
    for outcome in ("passed_on_rerun", "passed_on_rerun", "passed", "passed"):
        tested(tests=cases(a=outcome))

    assert rates("a") == {"a": (3, 1)}


@pytest.fixture
def queries(current: Settings) -> Iterator[list[str]]:
    """Every statement that is sent."""
    engine, sent = databases.engine(current.database.url.get_secret_value()), []

    def keep(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", keep)
    yield sent
    event.remove(engine, "before_cursor_execute", keep)


def test_many_tests_are_asked_for_at_once(tested: Tested, queries: list[str]) -> None:
    """A stage of a run takes two queries at most; what did not fail, none."""
    names = [f"test-{number}" for number in range(300)]
    run = tested(tests=cases(**dict.fromkeys(names, "failed")))
    with store.session() as session:
        queries.clear()
        found = flakes.of_run(session, run, [(FUNCTIONAL_TESTS.name, name, "failed") for name in names])
        of_good = flakes.of_run(session, run, [(FUNCTIONAL_TESTS.name, name, "passed") for name in names])

    assert (len(found), len(of_good), len(queries)) == (300, 0, 1)


@pytest.mark.parametrize(
    ("rate", "share", "said"),
    [
        (FlakeRate(0, 0), 0.0, ""),
        (FlakeRate(50, 0), 0.0, ""),
        (FlakeRate(50, 3), 0.06, "flaky: 3 of its last 50 runs"),
        (FlakeRate(1, 1), 1.0, "flaky: 1 of its last 1 run"),
    ],
)
def test_a_rate_is_told_when_there_is_something_to_tell(rate: FlakeRate, share: float, said: str) -> None:
    """As a person reads it."""
    assert rate.rate == pytest.approx(share)
    assert str(rate) == said
