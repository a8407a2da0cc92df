"""Tests that fail are run again, a few times: one that passes then has not passed, it is flaky, and is called so.

What can be run again by itself is a unit: a test playbook, the checks of a host. It is run again as a whole, on the
same bits, within the time of the stage. What a test of it did the first time stands, unless it failed.
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_junit import BAD, Test
from ansible.module_utils.ci_results import PASSED_ON_RERUN, Rule, is_quarantined
from ansible.module_utils.ci_stage import PackageError, clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Run = Callable[["Attempt"], Sequence[Test]]

# Of the time of a stage, what a rerun leaves to what comes after the tests: one over the limit is ABORTED.
_RESERVE: Final = 0.1


@dataclass(frozen=True)
class Attempt:
    """One run of a unit. `rerun` is its number, 0 the first run; `seconds` what it may take."""

    rerun: int
    seconds: int

    def label(self, name: str) -> str:
        """Return what the files of this run of a unit are called."""
        return f"rerun-{self.rerun}.{name}" if self.rerun else name


@dataclass(frozen=True)
class Reruns:
    """When a test is run again.

    Attributes:
        times: how often at most; 0: never.
        most: if more than these failed, none.
        quarantine: rules of the request; what they cover is not run again.
        seconds: the wall time of the stage.
        began: when the stage did, on the builder's monotonic clock.
    """

    times: int
    most: int
    quarantine: Sequence[Rule]
    seconds: float
    began: float

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Reruns:
        """Read a module's parameters: `reruns`, `quarantine`, `limits` and `began`."""
        wanted = params["reruns"]
        return cls(
            times=int(wanted.get("times", 0)),
            most=int(wanted.get("most", 0)),
            quarantine=params["quarantine"],
            seconds=float(params["limits"]["seconds"]),
            began=float(params["began"]) or time.monotonic(),
        )

    def left(self) -> int:
        """Return the seconds a rerun may take now."""
        return int(self.seconds * (1 - _RESERVE) - (time.monotonic() - self.began))


@dataclass
class _Case:
    """A test as it was when it was first seen, and what became of it since."""

    test: Test
    runs: int = 1
    failures: int = 1
    passed: bool = False

    def judged(self) -> Test:
        if self.runs == 1:
            return self.test
        message = clean(f"failed {self.failures} of {self.runs} times: {self.test['message']}", 2000)
        return self.test | {"outcome": PASSED_ON_RERUN if self.passed else self.test["outcome"], "message": message}


@dataclass
class _Unit:
    """A unit and what its runs have shown so far. `seconds`: what its longest run took."""

    name: str
    run: Run
    cases: list[_Case] = field(default_factory=list)
    seconds: float = 0

    def attempt(self, attempt: Attempt) -> Sequence[Test]:
        started = time.monotonic()
        found = self.run(attempt)
        self.seconds = max(self.seconds, time.monotonic() - started)
        return found

    def failing(self, quarantine: Sequence[Rule]) -> list[_Case]:
        bad = [case for case in self.cases if case.test["outcome"] in BAD and not case.passed]
        return [case for case in bad if not is_quarantined(case.test, quarantine)]

    def compare(self, found: Sequence[Test], quarantine: Sequence[Rule]) -> None:
        """Hold the tests of a rerun against what is known."""
        again: defaultdict[str, list[str]] = defaultdict(list)
        for test in found:
            again[test["name"]].append(test["outcome"])
        if found and not any(test["outcome"] in BAD for test in found):
            # It ended well: what its own exit code said the first time is named after it.
            again.setdefault(self.name, ["passed"])
        known = {case.test["name"] for case in self.cases}
        for case in self.failing(quarantine):
            self._settle(case, again[case.test["name"]])
        # What an earlier failure kept from running the first time: this is its first run.
        self.cases += [_Case(test) for test in found if test["name"] not in known]

    def _settle(self, case: _Case, outcomes: Sequence[str]) -> None:
        """Count a run in which a test of this name had these outcomes. Without any it did not run."""
        twins = sum(one.test["name"] == case.test["name"] for one in self.cases)
        failed = any(outcome in BAD for outcome in outcomes)
        case.passed = not failed and outcomes.count("passed") >= twins
        case.runs += failed or case.passed
        case.failures += failed


def run_all(units: Mapping[str, Run], reruns: Reruns) -> tuple[list[Test], list[str]]:
    """Run every unit, and those again in which tests failed.

    Args:
        units: by name, a function that carries out one run and returns its tests.
        reruns: when a test is run again.

    Returns:
        The tests, those that failed at first and passed later with the outcome `passed-on-rerun`, and what there is
        to say of tests that were not run again.

    Raises:
        StageError: what a run raises; of a PackageError only the first run's, a rerun's is told.
    """
    known = [_Unit(name, run) for name, run in units.items()]
    for unit in known:
        unit.cases = [_Case(test) for test in unit.attempt(Attempt(0, int(reruns.seconds)))]
    told = _too_many(known, reruns)
    for rerun in range(1, reruns.times + 1) if not told else ():
        told += [said for unit in known if (said := _again(unit, rerun, reruns))]
    return [case.judged() for unit in known for case in unit.cases], list(dict.fromkeys(told))


def _too_many(units: Sequence[_Unit], reruns: Reruns) -> list[str]:
    failing = sum(len(unit.failing(reruns.quarantine)) for unit in units)
    if not reruns.times or failing <= reruns.most:
        return []
    return [f"none was run again, because more than {reruns.most} failed"]


def _again(unit: _Unit, rerun: int, reruns: Reruns) -> str:
    """Run a unit again if a test of it fails; return why it could not be."""
    if not unit.failing(reruns.quarantine):
        return ""
    left = reruns.left()
    if left < max(unit.seconds, 1):
        return f"{unit.name} was not run again, because there was no time left"
    try:
        unit.compare(unit.attempt(Attempt(rerun, left)), reruns.quarantine)
    except PackageError as error:
        return f"{unit.name} could not be run again: {error}"
    return ""


class Source:
    """A package's source for each run of its tests: a rerun must not pass for what an earlier run left in it."""

    def __init__(self, source: Path, workspace: Path, reruns: Reruns) -> None:
        """Keep the source as it is now, if there may be reruns."""
        self._source, self._kept, self._last = source, workspace / "source.kept", workspace / "source.again"
        if reruns.times:
            shutil.copytree(source, self._kept, symlinks=True)

    def of(self, attempt: Attempt, label: str) -> Path:
        """Return the folder a run with this label has; a rerun has one of its own, until the next."""
        if not attempt.rerun:
            return self._source
        # What tests leave may resist being removed.
        shutil.rmtree(self._last, ignore_errors=True)
        self._last = self._kept.with_name(f"source.{label}")
        return shutil.copytree(self._kept, self._last, symlinks=True)
