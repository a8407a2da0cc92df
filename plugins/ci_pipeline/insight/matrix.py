"""The matrix: the newest change of every package, and all that goes on, with a cell per stage."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Self

from sqlalchemy import CTE, Select, func, not_, select, true, tuple_
from sqlalchemy.orm import Session, aliased

from ci_pipeline import rules
from ci_pipeline.change import Change
from ci_pipeline.insight import verdict
from ci_pipeline.insight.verdict import Facts, Verdict
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import STEPS, Stage
from ci_pipeline.store import lanes, runs
from ci_pipeline.store.tables import Run, StageResult

PAGE: Final = 50
MOST_GOING_ON: Final = 200
RUNNING: Final = "running"
# Separates the parts of where a page begins; no branch, namespace or package has it in its name.
_BETWEEN: Final = ":"
_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class Cell:
    """The current try of a stage. `status` is None while it runs, `seconds` its wall time so far."""

    id: int
    run: int
    stage: str
    try_number: int
    status: str | None
    fault: str
    reason: str
    started_at: datetime
    ended_at: datetime | None

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return ((self.ended_at or datetime.now(UTC)) - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Row:
    """A change and the current tries of its stages, by stage."""

    run: str
    dag: str
    build_id: int
    change: Change
    created_at: datetime
    ended_at: datetime | None
    cells: dict[str, Cell]
    verdict: Verdict

    @property
    def stage(self) -> str:
        """The stage that runs, or that ended last."""
        return verdict.progress(self.cells.values())

    @property
    def seconds(self) -> float:
        """Seconds from the change's arrival to its end, or until now."""
        return ((self.ended_at or datetime.now(UTC)) - self.created_at).total_seconds()

    def cell(self, stage: Stage) -> Cell | None:
        """Return the cell of all the steps that are one thing to the world, `stage` the last of them.

        It is the first red one's, else the one's that began last; until the last step has ended it is running. Its time
        is that of all of them.
        """
        steps = [self.cells[one.name] for one in STEPS[stage.event] if one.name in self.cells]
        if not steps:
            return None
        red = (one for one in steps if one.status and not rules.is_fine(Status(one.status)))
        shown = next(red, steps[-1])
        goes_on = shown.status in {Status.SUCCESS, Status.SKIPPED} and shown.stage != stage.name
        return replace(shown, started_at=steps[0].started_at, status=None if goes_on else shown.status)

    @classmethod
    def of(cls, run: Run, cells: dict[str, Cell], settings: Settings) -> Self:
        """Read a run."""
        change = runs.change_of(run)
        gating, fired = runs.is_gating(run, settings), run.fired_at is not None
        facts = Facts(str(change), gating, run.status, run.reason, fired=fired)
        return cls(
            run=run.run_id,
            dag=run.dag_id,
            build_id=run.number,
            change=change,
            created_at=run.created_at,
            ended_at=run.ended_at,
            cells=cells,
            verdict=verdict.of_run(facts, cells.values(), settings),
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; "" is any.

    Attributes:
        package: a part of a package's name.
        status: `running`, or the status a run ended with.
        after: where the page begins, as the page before it said.
    """

    branch: str = ""
    package: str = ""
    status: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the matrix.

    Attributes:
        following: where the next one begins; "" on the last.
        held_back: how many changes wait in the storm lane. They are not among those that go on.
    """

    going_on: tuple[Row, ...]
    ended: tuple[Row, ...]
    following: str
    held_back: int = 0


def page(session: Session, settings: Settings, wanted: Wanted) -> Page:
    """Return a page: what goes on (on the first page only), then the newest ended change of every package, by name."""
    running = [] if wanted.after or wanted.status not in {"", RUNNING} else _going_on(session, wanted)
    ended = [] if wanted.status == RUNNING else list(session.scalars(_newest(wanted).limit(PAGE + 1)))
    more, ended = len(ended) > PAGE, ended[:PAGE]
    rows = _with_cells(session, settings, [*running, *ended])
    held_back = session.scalar(select(func.count()).where(lanes.IS_HELD_BACK)) or 0
    following = _place(ended[-1]) if more else ""
    return Page(tuple(rows[: len(running)]), tuple(rows[len(running) :]), following, held_back)


def going_on(session: Session, settings: Settings) -> list[Row]:
    """Return the changes that go on, the oldest first."""
    return _with_cells(session, settings, _going_on(session, Wanted()))


def _going_on(session: Session, wanted: Wanted) -> list[Run]:
    query = _matching(select(Run).where(Run.status.is_(None), not_(lanes.IS_HELD_BACK)), wanted)
    return list(session.scalars(query.order_by(Run.id).limit(MOST_GOING_ON)))


def _newest(wanted: Wanted) -> Select[Run]:
    package = _packages(wanted)
    same = (Run.branch == package.c.branch, Run.namespace == package.c.namespace, Run.repo == package.c.repo)
    newest = select(Run).where(*same, not_(lanes.IS_HELD_BACK)).order_by(Run.id.desc()).limit(1).lateral()
    run = aliased(Run, newest)
    query = select(run).select_from(package).join(newest, true()).where(run.status.is_not(None))
    if wanted.status:
        query = query.where(run.status == wanted.status)
    if wanted.package:
        query = query.where(run.repo.icontains(wanted.package, autoescape=True))
    return query.order_by(run.branch, run.namespace, run.repo)


def _packages(wanted: Wanted) -> CTE:
    """Return every branch, namespace and package there is a run of.

    PostgreSQL does not skip from key to key in an index by itself, so this asks for the next one again and again: that
    is one look into the index per package, however many runs it has.
    """
    columns = (Run.branch, Run.namespace, Run.repo)
    one = select(*columns).order_by(*columns).limit(1)
    if wanted.branch:
        one = one.where(Run.branch == wanted.branch)
    begin = tuple(wanted.after.split(_BETWEEN))
    first = one.where(tuple_(*columns) > begin) if len(begin) == _PARTS else one
    found = first.cte("package", recursive=True)
    behind = one.where(tuple_(*columns) > tuple_(*found.c)).lateral()
    return found.union_all(select(behind).select_from(found).join(behind, true()))


def _matching(query: Select[Run], wanted: Wanted) -> Select[Run]:
    if wanted.branch:
        query = query.where(Run.branch == wanted.branch)
    if wanted.package:
        query = query.where(Run.repo.icontains(wanted.package, autoescape=True))
    return query


def _with_cells(session: Session, settings: Settings, found: list[Run]) -> list[Row]:
    tries: dict[int, list[Cell]] = {run.id: [] for run in found}
    for cell in _cells(session, tries):
        tries[cell.run].append(cell)
    return [Row.of(run, runs.current_tries(tries[run.id]), settings) for run in found]


def _cells(session: Session, of: Iterable[int]) -> Iterable[Cell]:
    columns = (
        StageResult.id,
        StageResult.run_id,
        StageResult.stage,
        StageResult.try_number,
        StageResult.status,
        StageResult.fault,
        StageResult.reason,
        StageResult.started_at,
        StageResult.ended_at,
    )
    rows = session.execute(select(*columns).where(StageResult.run_id.in_(of)).order_by(StageResult.id))
    return (Cell(*row) for row in rows)


def _place(run: Run) -> str:
    return _BETWEEN.join((run.branch, run.namespace, run.repo))
