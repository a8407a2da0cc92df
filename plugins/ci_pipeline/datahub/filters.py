"""Which results, runs and tests are wanted, as conditions on the tables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import false, true

from ci_pipeline.kind import Kind
from ci_pipeline.outcome import TestOutcome
from ci_pipeline.settings import Settings
from ci_pipeline.store import tables

RUNNING: Final = "RUNNING"
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_CANDIDATE: Final = re.compile(r"candidate/(?P<branch>.+)/(?P<number>[0-9]{1,18})")
_ABOUT_RESULT: Final = ("nvr", "original_spec_nvr", "compose_rev", "stage")
_ABOUT_RUN: Final = ("namespace", "repo", "rev", "branch", "kind", "lane")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which results are wanted; None does not matter. Of runs, what only a result has does not matter either.

    Attributes:
        run: a run's id, `f26/464`.
        ref: OSTree ref: a branch's, or a side run's candidate.
        outcome: a status, or `RUNNING`.
        since, until: when it ended, from the first on, before the second; what still runs is left out by either.
    """

    run: str | None = None
    nvr: str | None = None
    original_spec_nvr: str | None = None
    compose_rev: str | None = None
    namespace: str | None = None
    repo: str | None = None
    rev: str | None = None
    branch: str | None = None
    ref: str | None = None
    kind: str | None = None
    lane: str | None = None
    stage: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TestFilter:
    """Which tests are wanted: those of the results `of`, of one try, with a name, with an outcome."""

    __test__ = False

    of: Filter
    try_number: int | None = None
    name: str | None = None
    outcome: TestOutcome | None = None


def of_results(wanted: Filter, settings: Settings) -> list[Any]:
    """Return the conditions on results and their runs."""
    about = {name: getattr(wanted, name) for name in _ABOUT_RESULT}
    return [*_equal(tables.StageResult, about), *_of_runs(wanted, settings), *_ended(tables.StageResult, wanted)]


def of_runs(wanted: Filter, settings: Settings) -> list[Any]:
    """Return the conditions on runs."""
    return [*_of_runs(wanted, settings), *_ended(tables.Run, wanted)]


def of_tests(wanted: TestFilter, settings: Settings) -> list[Any]:
    """Return the conditions on tests, their results and their runs."""
    own = {"name": wanted.name, "outcome": wanted.outcome}
    of_try = {"try_number": wanted.try_number}
    return [
        *_equal(tables.TestResult, own),
        *_equal(tables.StageResult, of_try),
        *of_results(wanted.of, settings),
    ]


def _equal(table: type[tables.Base], values: Mapping[str, object]) -> list[Any]:
    return [getattr(table, name) == value for name, value in values.items() if value is not None]


def _of_runs(wanted: Filter, settings: Settings) -> list[Any]:
    about = {name: getattr(wanted, name) for name in _ABOUT_RUN}
    return [*_equal(tables.Run, about), _of_run(wanted.run), _on_ref(wanted.ref, settings)]


def _ended(table: type[tables.StageResult | tables.Run], wanted: Filter) -> list[Any]:
    found: list[Any] = []
    if wanted.outcome is not None:
        found.append(table.status.is_(None) if wanted.outcome == RUNNING else table.status == wanted.outcome)
    if wanted.since is not None:
        found.append(table.ended_at >= wanted.since)
    if wanted.until is not None:
        found.append(table.ended_at < wanted.until)
    return found


def _of_run(run: str | None) -> Any:
    if run is None:
        return true()
    branch, _, number = run.rpartition("/")
    if not _NUMBER.fullmatch(number):
        return false()
    return (tables.Run.branch == branch) & (tables.Run.number == int(number))


def _on_ref(ref: str | None, settings: Settings) -> Any:
    """Return the condition that a run's compose is, or is to be, on a ref."""
    if ref is None:
        return true()
    if side_run := _CANDIDATE.fullmatch(ref):
        return _of_run(f"{side_run['branch']}/{side_run['number']}") & (tables.Run.kind == Kind.BACKFILL)
    branches = [branch for branch in settings.branches if settings.ref_of(branch) == ref]
    return tables.Run.branch.in_(branches) & (tables.Run.kind != Kind.BACKFILL)
