"""Runs: their numbers, their stages' results, and what is known of a change so far."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from sqlalchemy import func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from ci_pipeline.change import Change, run_id_of
from ci_pipeline.errors import StoreError
from ci_pipeline.kind import Kind
from ci_pipeline.lane import Lane, suffix
from ci_pipeline.outcome import Status, worst
from ci_pipeline.settings import Settings
from ci_pipeline.stages import INTEGRATION_TESTS, STAGES
from ci_pipeline.store.tables import Inbound, Run, StageResult


class Try(Protocol):
    """A try of a stage, as far as its order matters: `id` counts up."""

    @property
    def id(self) -> int:
        """Its number among all tries."""

    @property
    def stage(self) -> str:
        """The name of its stage."""


T = TypeVar("T", bound=Try)

NO_TEST_GUIDANCE = "''"
# A backfill takes its time: pushes find room in Airflow, and on the machine.
BACKFILLS_AT_ONCE = 4


def dag_id_of(branch: str) -> str:
    """Return the id of a branch's DAG: `ci-pipeline-f26`."""
    return f"ci-pipeline-{branch}"


def create(  # noqa: PLR0913 - the columns of a run, keyword-only
    session: Session,
    change: Change,
    *,
    run_id: str | None = None,
    test_guidance: str = NO_TEST_GUIDANCE,
    kind: Kind = Kind.PUSH,
    options: Mapping[str, str] = MappingProxyType({}),
    lane: Lane = Lane.LIVE,
) -> Run:
    """Add a run of a change and give it its branch's next number.

    Args:
        session: an open transaction; it holds the branch's numbering until it ends.
        change: what is run.
        run_id: Airflow's id of a run that exists already; default: one made of the change and the number.
        test_guidance: test suites asked for, as the contract passes them on.
        kind: what the run is for.
        options: what is asked for besides, where it differs from what is configured.
        lane: how it comes to its turn.
    """
    run = _numbered(change, _next_number(session, change.branch), kind, lane, run_id)
    run.test_guidance, run.options = test_guidance, dict(options)
    session.add(run)
    session.flush()
    return run


def create_all(session: Session, pushed: Sequence[tuple[Change, Lane]]) -> list[Run]:
    """Add runs of pushed changes, in this order, and give them their branches' next numbers; return them.

    Args:
        session: an open transaction; it holds the branches' numbering until it ends.
        pushed: what is run, and how it comes to its turn.
    """
    # In one order: two transactions that number the same branches must not wait for each other.
    branches = sorted({change.branch for change, _ in pushed})
    numbers = {branch: count(_next_number(session, branch)) for branch in branches}
    made = [_numbered(change, next(numbers[change.branch]), Kind.PUSH, lane) for change, lane in pushed]
    session.add_all(made)
    session.flush()
    return made


def find(session: Session, dag_id: str, run_id: str) -> Run | None:
    """Return the run of an Airflow DAG run, if there is one."""
    return session.scalar(select(Run).where(Run.dag_id == dag_id, Run.run_id == run_id))


def get(session: Session, run_id: str) -> Run:
    """Return a run by its run id, or by `<branch>/<number>`.

    Raises:
        StoreError: there is no such run.
    """
    query = select(Run).where(Run.run_id == run_id).order_by(Run.id.desc()).limit(1)
    branch, _, number = run_id.rpartition("/")
    if branch and number.isdecimal():
        query = select(Run).where(Run.branch == branch, Run.number == int(number))
    run = session.scalar(query)
    if run is None:
        msg = f"no run {run_id}; `ci-pipeline runs` lists them"
        raise StoreError(msg)
    return run


def locked(session: Session, run: int) -> Run:
    """Return a run whose row is locked until the transaction ends.

    Raises:
        StoreError: the run is gone.
    """
    found = session.get(Run, run, with_for_update=True)
    if found is None:
        msg = f"run {run} is not in the database any more"
        raise StoreError(msg)
    return found


def change_of(run: Run) -> Change:
    """Return the change a run is of."""
    return Change(namespace=run.namespace, repo=run.repo, rev=run.rev, branch=run.branch)


def ref_of(run: Run, settings: Settings) -> str:
    """Return the ref that a run's compose is on, or is to be on: a side run has none but its candidate's."""
    promotes = Kind(run.kind).promotes
    return settings.ref_of(run.branch) if promotes else f"candidate/{run.branch}/{run.number}"


def is_gating(run: Run, settings: Settings) -> bool:
    """Tell whether failing functional tests stop a run: as it was asked for, else as its package is configured."""
    asked = run.options.get("gating")
    return settings.package_of(run.repo).gating if asked is None else asked == "gating"


def conf_of(run: Run) -> dict[str, str]:
    """Return the conf a run is fired with."""
    guidance = {} if run.test_guidance == NO_TEST_GUIDANCE else {"test_guidance": run.test_guidance}
    return {"namespace": run.namespace, "repo": run.repo, "rev": run.rev, **guidance, **run.options}


def not_fired(session: Session, *, limit: int = 100) -> list[Run]:
    """Return the queued runs that Airflow is to be told of now, those that have been ended left out.

    Those of the storm lane are not among them: `store.lanes` has whose turn it is.

    What was pushed comes first, then the backfills there is room for, the oldest first. Runs that Airflow's own
    backfills made take their room, too; how many of them go on at once is said there.
    """
    waiting = select(Run).where(Run.fired_at.is_(None), Run.status.is_(None)).order_by(Run.id)
    live = waiting.where(Run.kind != Kind.BACKFILL, Run.lane == Lane.LIVE)
    pushed = session.scalars(live.limit(limit)).all()
    busy = select(func.count()).where(Run.kind == Kind.BACKFILL, Run.status.is_(None), Run.fired_at.is_not(None))
    room = max(BACKFILLS_AT_ONCE - (session.scalar(busy) or 0), 0)
    return [*pushed, *session.scalars(waiting.where(Run.kind == Kind.BACKFILL).limit(room))]


def fired(session: Session, changes: Iterable[Change]) -> dict[Change, Run]:
    """Return, of changes, those that Airflow has or will have a run of, each with its newest."""
    wanted = {(one.namespace, one.repo, one.rev, one.branch): one for one in changes}
    columns = (Run.namespace, Run.repo, Run.rev, Run.branch)
    # A run that was superseded, or cancelled while it waited, was never one of Airflow's.
    began = or_(Run.fired_at.is_not(None), Run.status.is_(None))
    rows = session.scalars(select(Run).where(tuple_(*columns).in_(list(wanted)), began).order_by(Run.id))
    return {wanted[row.namespace, row.repo, row.rev, row.branch]: row for row in rows}


def going_on(session: Session, *, older_than: timedelta = timedelta(0)) -> list[Run]:
    """Return the runs Airflow was told of and that have no end, the oldest first."""
    before = datetime.now(UTC) - older_than
    query = select(Run).where(Run.status.is_(None), Run.fired_at.is_not(None), Run.fired_at <= before)
    return list(session.scalars(query.order_by(Run.id)))


def mark_fired(session: Session, *fired: int) -> None:
    """Record that Airflow has runs."""
    if fired:
        session.execute(update(Run).where(Run.id.in_(fired), Run.fired_at.is_(None)).values(fired_at=func.now()))


def overtaken_by(session: Session, run: Run) -> Run | None:
    """Return a later run of the same package on the same branch that is promoted already, the newest of them."""
    if not Kind(run.kind).promotes:
        return None
    later = select(Run).join(StageResult).where(Run.id > run.id, Run.branch == run.branch, Run.kind != Kind.BACKFILL)
    same = later.where(Run.namespace == run.namespace, Run.repo == run.repo)
    promoted = same.where(StageResult.stage == INTEGRATION_TESTS.name, StageResult.status == Status.SUCCESS)
    return session.scalar(promoted.order_by(Run.id.desc()).limit(1))


def recent(session: Session, *, branch: str | None = None, limit: int = 20) -> list[Run]:
    """Return the newest runs, the newest first."""
    query = select(Run).order_by(Run.id.desc()).limit(limit)
    return list(session.scalars(query if branch is None else query.where(Run.branch == branch)))


def latest_results(session: Session, run: int) -> dict[str, StageResult]:
    """Return the newest try of every stage of a run, by stage, in pipeline order.

    A stage that was tried before one that precedes it (because that one was cleared and ran again) is out of date,
    and so is what follows it: those are left out.
    """
    return current_tries(_all_tries(session, run))


def newest_tries(session: Session, run: int) -> list[StageResult]:
    """Return the newest try of every stage of a run, those that are out of date among them, in pipeline order."""
    return _newest(_all_tries(session, run))


def current_tries(rows: Iterable[T]) -> dict[str, T]:
    """Return what `latest_results` does, of a run's tries in the order they began."""
    current: dict[str, T] = {}
    youngest = 0
    for row in _newest(rows):
        if row.id < youngest:
            break
        current[row.stage], youngest = row, row.id
    return current


def outputs(session: Session, run: int) -> dict[str, Any]:
    """Return everything the stages of a run have made known, later stages winning."""
    known: dict[str, Any] = {}
    for result in latest_results(session, run).values():
        known |= result.outputs
    return known


def status_so_far(session: Session, run: int) -> Status:
    """Return the status of a run while it goes on: the worst of its stages."""
    results = latest_results(session, run).values()
    return worst(Status(result.status) for result in results if result.status)


def inbound_of(session: Session, run: int) -> Iterable[Inbound]:
    """Return the messages that led to a run."""
    return session.scalars(select(Inbound).where(Inbound.run == run).order_by(Inbound.id))


def _next_number(session: Session, branch: str) -> int:
    # Two transactions numbering one branch wait for each other; the lock ends with the transaction.
    session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"run:{branch}"))))
    return session.scalar(select(func.coalesce(func.max(Run.number), 0) + 1).where(Run.branch == branch)) or 1


def _numbered(change: Change, number: int, kind: Kind, lane: Lane, run_id: str | None = None) -> Run:
    return Run(
        dag_id=dag_id_of(change.branch),
        run_id=run_id or run_id_of(change, f"{number}{suffix(kind, lane)}"),
        number=number,
        test_guidance=NO_TEST_GUIDANCE,
        kind=kind,
        lane=lane,
        options={},
        fired_at=datetime.now(UTC) if run_id else None,
        **change.model_dump(),
    )


def _all_tries(session: Session, run: int) -> Iterable[StageResult]:
    return session.scalars(select(StageResult).where(StageResult.run_id == run).order_by(StageResult.id))


def _newest(rows: Iterable[T]) -> list[T]:
    """Return the newest try of every stage, in pipeline order, of a run's tries in the order they began."""
    newest = {row.stage: row for row in rows}
    return [newest[stage.name] for stage in STAGES if stage.name in newest]
