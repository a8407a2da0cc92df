"""Reads the datahub: a fixed number of queries for a page, however much there is."""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, contains_eager, joinedload, selectinload

from ci_pipeline.datahub import filters, flakes
from ci_pipeline.datahub.filters import RUNNING, Filter, TestFilter
from ci_pipeline.datahub.model import (
    FoundTest,
    Image,
    Result,
    Run,
    RunResult,
    RunResults,
    RunStages,
    Test,
    TestedResult,
)
from ci_pipeline.errors import StoreError
from ci_pipeline.settings import Settings
from ci_pipeline.store import images, runs, tables

__all__ = ["RUNNING", "Filter", "Page", "TestFilter"]

T = TypeVar("T")
Q = TypeVar("Q", bound=Select[*tuple[Any, ...]])

_RESULT: Final = re.compile(r"(?P<branch>.+)/(?P<number>[0-9]{1,18})/(?P<stage>[a-z_]+)/(?P<try>[0-9]{1,9})")
_RUN: Final = re.compile(r"(?P<branch>.+)/(?P<number>[0-9]{1,18})")


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
    query = query.where(*filters.of_results(wanted, settings))
    rows = session.scalars(_newest(query, tables.StageResult.id, limit, before)).all()
    return Page(_of_runs(session, settings, rows[:limit]), _following(rows, limit))


def result(session: Session, settings: Settings, result_id: str) -> RunResult:
    """Return one result by its id.

    Raises:
        StoreError: there is none.
    """
    return _of_runs(session, settings, [known_result(session, result_id)])[0]


def known_result(session: Session, result_id: str) -> tables.StageResult:
    """Return the row of a result.

    Raises:
        StoreError: there is none.
    """
    named = _RESULT.fullmatch(result_id)
    row = session.scalar(_named(named)) if named else None
    if row is None:
        msg = f"there is no result {result_id[:200]!r}; an id is BRANCH/NUMBER/STAGE/TRY"
        raise StoreError(msg)
    return row


def found_tests(
    session: Session, settings: Settings, wanted: TestFilter, *, limit: int, before: int | None = None
) -> Page[FoundTest]:
    """Return tests of results, the newest first. Arguments: as `results`."""
    of, run_of = tables.StageResult, tables.Run
    query = select(tables.TestResult, run_of.branch, run_of.number, of.stage, of.try_number)
    query = query.join(of, tables.TestResult.stage_result_id == of.id).join(of.run)
    query = query.where(*filters.of_tests(wanted, settings))
    rows = session.execute(_newest(query, tables.TestResult.id, limit, before)).all()
    items = tuple(FoundTest.found(test, "/".join(map(str, named))) for test, *named in rows[:limit])
    return Page(items, rows[limit - 1][0].id if len(rows) > limit else None)


def run_list(
    session: Session, settings: Settings, wanted: Filter, *, limit: int, before: int | None = None
) -> Page[Run]:
    """Return runs, the newest first. Arguments: as `results`."""
    query = select(tables.Run).where(*filters.of_runs(wanted, settings))
    rows = session.scalars(_newest(query, tables.Run.id, limit, before)).all()
    return Page(tuple(Run(**Run.fields_of(row, settings)) for row in rows[:limit]), _following(rows, limit))


def run(session: Session, settings: Settings, run_id: str) -> RunStages:
    """Return a run by its id, `f26/464`, and the newest try of each of its stages.

    Raises:
        StoreError: there is none.
    """
    named = _RUN.fullmatch(run_id)
    of_id = (tables.Run.branch == named["branch"], tables.Run.number == int(named["number"])) if named else None
    row = session.scalar(select(tables.Run).where(*of_id)) if of_id else None
    if row is None:
        msg = f"there is no run {run_id[:200]!r}; an id is BRANCH/NUMBER"
        raise StoreError(msg)
    stages = tuple(Result(**fields) for _, fields in _current_results(session, settings, row))
    return RunStages(**Run.fields_of(row, settings), stages=stages)


def run_results(session: Session, settings: Settings, row: tables.Run) -> RunResults:
    """Return a run and the newest try of each of its stages, with all their tests."""
    found = _current_results(session, settings, row, tables.StageResult.tests)
    rates = flakes.of_run(
        session, row, ((one.stage, test.name, test.outcome) for one, _ in found for test in one.tests)
    )
    stages = tuple(
        TestedResult(**fields, tests=tuple(Test.of(test, rates.get((one.stage, test.name))) for test in one.tests))
        for one, fields in found
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


def image_list(
    session: Session, settings: Settings, *, branch: str | None, limit: int, before: int | None = None
) -> Page[Image]:
    """Return images, the newest first. Arguments: as `results`."""
    rows = images.listed(session, branch=branch, limit=limit + 1, before=before)
    return Page(tuple(Image.of(row, settings) for row in rows[:limit]), _following(rows, limit))


def image(session: Session, settings: Settings, name: str) -> Image:
    """Return the newest image of a name.

    Raises:
        StoreError: there is none.
    """
    return Image.of(images.find(session, name), settings)


_ORIGIN: Final = joinedload(tables.StageResult.reused_from).joinedload(tables.StageResult.run)
_WHOLE: Final = (contains_eager(tables.StageResult.run), selectinload(tables.StageResult.artifacts), _ORIGIN)


def _named(named: re.Match[str]) -> Select[tables.StageResult]:
    query = select(tables.StageResult).join(tables.StageResult.run).options(*_WHOLE)
    query = query.where(tables.Run.branch == named["branch"], tables.Run.number == int(named["number"]))
    return query.where(tables.StageResult.stage == named["stage"], tables.StageResult.try_number == int(named["try"]))


def _newest(query: Q, key: Any, limit: int, before: int | None) -> Q:
    """Return a query for a page of the newest, and for one more: whether there is a next page."""
    newest = query.order_by(key.desc()).limit(limit + 1)
    return newest if before is None else newest.where(key < before)


def _following(rows: Sequence[Any], limit: int) -> int | None:
    return rows[limit - 1].id if len(rows) > limit else None


def _current_results(
    session: Session, settings: Settings, row: tables.Run, *with_: Any
) -> list[tuple[tables.StageResult, dict[str, Any]]]:
    """Return the tries of a run that count, in pipeline order, each with its fields."""
    query = select(tables.StageResult).where(tables.StageResult.run_id == row.id).order_by(tables.StageResult.id)
    loaded = (selectinload(one) for one in (tables.StageResult.artifacts, *with_))
    current = runs.current_tries(session.scalars(query.options(*loaded, _ORIGIN))).values()
    counts = test_counts(session, [one.id for one in current])
    return [(one, Result.fields_of(one, row, settings) | {"counts": counts[one.id]}) for one in current]


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
