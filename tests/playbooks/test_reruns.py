"""Tests that fail are run again: what counts for what, and when they are not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.ci_reruns import Attempt, Reruns, run_all
from ansible.module_utils.ci_results import verdict
from ansible.module_utils.ci_stage import InfrastructureError, PackageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Test = dict[str, Any]

RULE = {"test": "known", "tracker": "https://bugs.example.org/7", "until": "2027-01-31", "expired": False}


def cases(**outcomes: str) -> list[Test]:
    """Return tests with these outcomes; those that are bad say why."""
    bad = {"failed", "error"}
    return [
        {"name": name, "outcome": outcome, "seconds": 1.0, "message": f"{name} broke" if outcome in bad else ""}
        for name, outcome in outcomes.items()
    ]


class Unit:
    """A unit whose runs go as told, one after the other; an error is raised. It keeps what was asked of it."""

    def __init__(self, *runs: Sequence[Test] | Exception, seconds: float = 0) -> None:
        self.asked: list[Attempt] = []
        self._runs, self._seconds = list(runs), seconds

    def __call__(self, attempt: Attempt) -> Sequence[Test]:
        self.asked.append(attempt)
        time.sleep(self._seconds)
        run = self._runs.pop(0)
        if isinstance(run, Exception):
            raise run
        return run


@pytest.fixture
def reruns() -> Callable[..., Reruns]:
    """Return a function that makes the rules of a stage that has just begun."""

    def make(**given: Any) -> Reruns:
        return Reruns(**{"times": 1, "most": 5, "quarantine": [], "seconds": 1000.0, "began": time.monotonic()} | given)

    return make


def outcomes(found: tuple[list[Test], list[str]]) -> dict[str, str]:
    """Return outcome by name."""
    return {test["name"]: test["outcome"] for test in found[0]}


def test_a_test_that_passes_on_its_rerun_is_neither_passed_nor_failed(reruns: Callable[..., Reruns]) -> None:
    """It keeps what it said, with how often it failed; the others of its playbook are what they were."""
    unit = Unit(cases(a="failed", b="passed"), cases(a="passed", b="failed"))
    found = run_all({"tests.yml": unit}, reruns())

    assert outcomes(found) == {"a": "passed-on-rerun", "b": "passed"}
    assert found[0][0]["message"] == "failed 1 of 2 times: a broke"
    assert [attempt.rerun for attempt in unit.asked] == [0, 1]


def test_a_test_that_fails_each_time_says_in_how_many_runs(reruns: Callable[..., Reruns]) -> None:
    """It is run again as often as it may be, and keeps its first outcome."""
    found = run_all({"t": Unit(*[cases(a="error")] * 3)}, reruns(times=2))

    assert outcomes(found) == {"a": "error"}
    assert found[0][0]["message"] == "failed 3 of 3 times: a broke"


def test_the_last_rerun_counts_as_much_as_the_first(reruns: Callable[..., Reruns]) -> None:
    """And none follows when all have passed."""
    unit = Unit(cases(a="failed"), cases(a="failed"), cases(a="passed"))
    found = run_all({"t": unit}, reruns(times=3))

    assert outcomes(found) == {"a": "passed-on-rerun"}
    assert found[0][0]["message"] == "failed 2 of 3 times: a broke"
    assert len(unit.asked) == 3


@pytest.mark.parametrize("again", [cases(b="passed"), cases(a="skipped"), []])
def test_a_test_that_did_not_run_again_has_not_passed(reruns: Callable[..., Reruns], again: list[Test]) -> None:
    """A rerun that leaves it out proves nothing."""
    found = run_all({"t": Unit(cases(a="failed", b="passed"), again)}, reruns())

    assert outcomes(found) == {"a": "failed", "b": "passed"}
    assert found[0][0]["message"] == "a broke"


def test_of_two_tests_of_one_name_both_have_to_pass(reruns: Callable[..., Reruns]) -> None:
    """Nobody can tell which of them it was."""
    first = [*cases(a="passed"), *cases(a="failed")]

    once = run_all({"t": Unit(first, cases(a="passed"))}, reruns())
    twice = run_all({"t": Unit(first, cases(a="passed") * 2)}, reruns())

    assert [test["outcome"] for test in once[0]] == ["passed", "failed"]
    assert [test["outcome"] for test in twice[0]] == ["passed", "passed-on-rerun"]


def test_what_a_failure_kept_from_running_counts_when_it_runs(reruns: Callable[..., Reruns]) -> None:
    """A play stops at its first failure: what comes behind it is seen in the rerun, and may fail there."""
    found = run_all({"t": Unit(cases(a="failed"), cases(a="passed", b="failed", c="passed"))}, reruns())

    assert outcomes(found) == {"a": "passed-on-rerun", "b": "failed", "c": "passed"}
    assert found[0][1]["message"] == "b broke"


def test_what_the_exit_code_said_passes_with_a_rerun_that_ends_well(reruns: Callable[..., Reruns]) -> None:
    """It is named after the playbook, and no result file names it."""
    first = [*cases(a="passed"), {"name": "t.yml", "outcome": "failed", "seconds": 0.0, "message": "rc 2"}]

    good = run_all({"t.yml": Unit(first, cases(a="passed"))}, reruns())
    bad = run_all({"t.yml": Unit(first, cases(a="failed"))}, reruns())
    nothing = run_all({"t.yml": Unit(first, [])}, reruns())

    assert outcomes(good) == {"a": "passed", "t.yml": "passed-on-rerun"}
    assert outcomes(bad) == outcomes(nothing) == {"a": "passed", "t.yml": "failed"}


def test_only_what_failed_is_run_again(reruns: Callable[..., Reruns]) -> None:
    """Not a playbook that passed, and not for a test under quarantine."""
    good, known = Unit(cases(a="passed")), Unit(cases(known="failed"))
    mixed = Unit(cases(known="failed", b="failed"), cases(known="passed", b="passed"))
    found = run_all({"good": good, "known": known, "mixed": mixed}, reruns(quarantine=[RULE]))

    assert [len(unit.asked) for unit in (good, known, mixed)] == [1, 1, 2]
    assert [test["outcome"] for test in found[0]] == ["passed", "failed", "failed", "passed-on-rerun"]


def test_a_test_whose_quarantine_is_over_is_run_again(reruns: Callable[..., Reruns]) -> None:
    """It is a test like any other."""
    unit = Unit(cases(known="failed"), cases(known="passed"))

    assert outcomes(run_all({"t": unit}, reruns(quarantine=[RULE | {"expired": True}]))) == {"known": "passed-on-rerun"}


def test_more_failures_than_most_are_no_flakes(reruns: Callable[..., Reruns]) -> None:
    """None is run again, and that is said; those under quarantine are not counted."""
    units = {"t": Unit(cases(a="failed", known="failed")), "u": Unit(cases(b="failed"))}
    found = run_all(units, reruns(most=1, quarantine=[RULE]))

    assert [len(unit.asked) for unit in units.values()] == [1, 1]
    assert found[1] == ["none was run again, because more than 1 failed"]


@pytest.mark.parametrize("began", [-950, -899.9])
def test_a_rerun_does_not_begin_without_the_time_for_it(reruns: Callable[..., Reruns], began: float) -> None:
    """A tenth of the stage's time is left to what follows. It is said once, however many reruns there might be."""
    unit = Unit(cases(a="failed"))
    found = run_all({"t.yml": unit}, reruns(times=3, began=time.monotonic() + began))

    assert len(unit.asked) == 1
    assert outcomes(found) == {"a": "failed"}
    assert found[1] == ["t.yml was not run again, because there was no time left"]


def test_a_rerun_that_would_take_longer_than_is_left_does_not_begin(reruns: Callable[..., Reruns]) -> None:
    """It is expected to take as long as the first run."""
    unit = Unit(cases(a="failed"), seconds=1.5)
    run_all({"t": unit}, reruns(seconds=3.0))

    assert len(unit.asked) == 1


def test_a_rerun_has_what_is_left_of_the_time(reruns: Callable[..., Reruns]) -> None:
    """So it ends before the stage does."""
    unit = Unit(cases(a="failed"), cases(a="failed"))
    run_all({"t": unit}, reruns(began=time.monotonic() - 500))

    assert unit.asked[0].seconds == 1000
    assert 395 <= unit.asked[1].seconds <= 400


def test_a_rerun_that_cannot_start_is_told(reruns: Callable[..., Reruns]) -> None:
    """The first run's results stand."""
    found = run_all({"t.yml": Unit(cases(a="failed"), PackageError("broken"))}, reruns())

    assert outcomes(found) == {"a": "failed"}
    assert found[1] == ["t.yml could not be run again: broken"]


@pytest.mark.parametrize(
    "runs", [[PackageError("broken")], [cases(a="failed"), InfrastructureError("the sandbox was killed")]]
)
def test_other_errors_end_the_stage(reruns: Callable[..., Reruns], runs: list[Any]) -> None:
    """A first run that cannot start, and whatever is the builder's fault."""
    with pytest.raises((PackageError, InfrastructureError)):
        run_all({"t": Unit(*runs)}, reruns())


def test_nothing_is_run_again_where_nothing_is_asked_for() -> None:
    """A request without reruns is one of before."""
    params = {"reruns": {}, "quarantine": [], "limits": {"seconds": 100}, "began": 0}
    unit = Unit(cases(a="failed"))
    found = run_all({"t": unit}, Reruns.of(params))

    assert (len(unit.asked), found[1]) == (1, [])


def test_a_success_says_what_passed_only_when_it_was_run_again() -> None:
    """It is counted apart, and named."""
    part = verdict(cases(a="passed", b="passed-on-rerun"), "functional")

    assert (part["status"], part["reason"]) == ("SUCCESS", "1 that failed passed when run again: b")
    assert part["outputs"] == {"total": 2, "failed": 0, "skipped": 0, "passed_on_rerun": 1}


def test_a_failure_says_so_too() -> None:
    """With the remarks on what was not run again."""
    part = verdict(cases(a="failed", b="passed-on-rerun"), "functional", remarks=["no time"])

    assert (part["status"], part["outputs"]["failed"]) == ("UNSTABLE", 1)
    assert part["reason"] == "1 of 2 functional tests failed: a; no time; 1 that failed passed when run again: b"
