"""Reads the datahub: a fixed number of queries for a page, however much there is."""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Select, false, func, select, true
from sqlalchemy.orm import Session, contains_eager, selectinload

from ci_pipeline.datahub import flakes
from ci_pipeline.datahub.model import Image, Result, Run, RunResult, RunResults, Test, TestedResult
from ci_pipeline.errors import StoreError
from ci_pipeline.settings import Settings
from ci_pipeline.store import images, runs, tables

T = TypeVar("T")

RUNNING: Final = "RUNNING"
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_CANDIDATE: Final = re.compile(r"candidate/(?P<branch>.+)/(?P<number>[0-9]{1,18})")
_RESULT: Final = re.compile(r"(?P<branch>.+)/(?P<number>[0-9]{1,18})/(?P<stage>[a-z_]+)/(?P<try>[0-9]{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which results are wanted; None does not matter.

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
    branch: str | None = None
    ref: str | None = None
    kind: str | None = None
    stage: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of what was asked for, the newest first; `before` names the next page, None on the last."""

    items: tuple[T, ...]
    before: int | None


def results(
    session: Session, settings: Settings, wanted: Filter, *, limit: int, before: int | None = None
) -> Page[RunResult]:
    """Return results, the newest first.

    Args:
        session: an open transaction.
        settings: for refs and addresses.
        wanted: which.
        limit: at most so many.
        before: what the page before this one named.
    """
    query = select(tables.StageResult).join(tables.StageResult.run).options(*_WHOLE)
    query = query.where(*_conditions(wanted, settings)).order_by(tables.StageResult.id.desc()).limit(limit + 1)
    if before is not None:
        query = query.where(tables.StageResult.id < before)
    rows = list(session.scalars(query))
    shown = rows[:limit]
    return Page(_of_runs(session, settings, shown), shown[-1].id if len(rows) > limit else None)


def result(session: Session, settings: Settings, result_id: str) -> RunResult:
    """Return one result by its id.

    Raises:
        StoreError: there is none.
    """
    named = _RESULT.fullmatch(result_id)
    row = session.scalar(_named(named)) if named else None
    if row is None:
        msg = f"there is no result {result_id[:200]!r}; an id is BRANCH/NUMBER/STAGE/TRY"
        raise StoreError(msg)
    return _of_runs(session, settings, [row])[0]


def run_results(session: Session, settings: Settings, row: tables.Run) -> RunResults:
    """Return a run and the newest try of each of its stages, with all their tests."""
    newest = list(runs.latest_results(session, row.id).values())
    counts = test_counts(session, [one.id for one in newest])
    tests = ((one.stage, test.name, test.outcome) for one in newest for test in one.tests)
    rates = flakes.of_run(session, row, tests)
    stages = tuple(
        TestedResult(
            **Result.fields_of(one, row, settings),
            counts=counts[one.id],
            tests=tuple(Test.of(test, rates.get((one.stage, test.name))) for test in one.tests),
        )
        for one in newest
    )
    return RunResults(**Run.fields_of(row, settings), stages=stages)


def chosen_run(session: Session, run_id: str | None) -> tables.Run | None:
    """Return a run by its id or `<branch>/<number>`; without one the newest, if there is any.

    Raises:
        StoreError: there is no such run.
    """
    if run_id is not None:
        return runs.get(session, run_id)
    return next(iter(runs.recent(session, limit=1)), None)


def recent_runs(session: Session, settings: Settings, *, branch: str | None, limit: int) -> list[RunResults]:
    """Return the newest runs without their stages, the newest first."""
    found = runs.recent(session, branch=branch, limit=limit)
    return [RunResults(**Run.fields_of(row, settings), stages=()) for row in found]


def image_list(session: Session, settings: Settings, *, branch: str | None, limit: int) -> list[Image]:
    """Return images, the newest first."""
    return [Image.of(row, settings) for row in images.listed(session, branch=branch, limit=limit)]


_WHOLE: Final = (contains_eager(tables.StageResult.run), selectinload(tables.StageResult.artifacts))


def _named(named: re.Match[str]) -> Select[tables.StageResult]:
    query = select(tables.StageResult).join(tables.StageResult.run).options(*_WHOLE)
    query = query.where(tables.Run.branch == named["branch"], tables.Run.number == int(named["number"]))
    return query.where(tables.StageResult.stage == named["stage"], tables.StageResult.try_number == int(named["try"]))


def _conditions(wanted: Filter, settings: Settings) -> list[Any]:
    of_result = {name: getattr(wanted, name) for name in ("nvr", "original_spec_nvr", "compose_rev", "stage")}
    of_run = {name: getattr(wanted, name) for name in ("namespace", "repo", "branch", "kind")}
    found = [getattr(tables.StageResult, name) == value for name, value in of_result.items() if value is not None]
    found += [getattr(tables.Run, name) == value for name, value in of_run.items() if value is not None]
    if wanted.outcome is not None:
        ended = tables.StageResult.status == wanted.outcome
        found.append(tables.StageResult.status.is_(None) if wanted.outcome == RUNNING else ended)
    if wanted.since is not None:
        found.append(tables.StageResult.ended_at >= wanted.since)
    if wanted.until is not None:
        found.append(tables.StageResult.ended_at < wanted.until)
    return [*found, _of_run(wanted.run), _on_ref(wanted.ref, settings)]


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
        return _of_run(f"{side_run['branch']}/{side_run['number']}") & (tables.Run.kind == "backfill")
    branches = [branch for branch in settings.branches if settings.ref_of(branch) == ref]
    return tables.Run.branch.in_(branches) & (tables.Run.kind != "backfill")


def _of_runs(session: Session, settings: Settings, rows: Sequence[tables.StageResult]) -> tuple[RunResult, ...]:
    counts, current = test_counts(session, [row.id for row in rows]), _current(session, {row.run_id for row in rows})
    return tuple(
        RunResult(
            **Result.fields_of(row, row.run, settings),
            counts=counts[row.id],
            run=Run(**Run.fields_of(row.run, settings)),
            current=row.id in current,
        )
        for row in rows
    )


def test_counts(session: Session, results: Collection[int]) -> dict[int, dict[str, int]]:
    """Return the number of tests of results, by outcome."""
    key = tables.TestResult.stage_result_id
    query = select(key, tables.TestResult.outcome, func.count()).where(key.in_(results))
    counted: dict[int, dict[str, int]] = defaultdict(dict)
    for row, outcome, count in session.execute(query.group_by(key, tables.TestResult.outcome)):
        counted[row][outcome] = count
    return counted


def _current(session: Session, of_runs: Collection[int]) -> set[int]:
    """Return which tries of runs count."""
    columns = (tables.StageResult.run_id, tables.StageResult.id, tables.StageResult.stage)
    tries = defaultdict(list)
    for row in session.execute(select(*columns).where(columns[0].in_(of_runs)).order_by(columns[1])):
        tries[row.run_id].append(row)
    return {one.id for rows in tries.values() for one in runs.current_tries(rows).values()}
