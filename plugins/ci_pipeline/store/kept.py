"""What retention asks the database: which runs, builds, images and commits are still needed."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from ci_pipeline.kind import Kind
from ci_pipeline.store.tables import Image, Run, StageResult


def is_due(run: Run, before: datetime) -> bool:
    """Tell whether a run ended before a time: then its files may go."""
    return run.status is not None and run.ended_at is not None and run.ended_at < before


def mark_pruned(session: Session, before: datetime) -> None:
    """Record, of every run that ended before a time, that its files are not kept any more."""
    session.execute(update(Run).where(_due(before), Run.pruned_at.is_(None)).values(pruned_at=func.now()))


def held(session: Session, dag_id: str, run_id: str) -> Run | None:
    """Return a run, if there is one. It cannot begin anew before the transaction ends."""
    return session.scalar(select(Run).where(Run.dag_id == dag_id, Run.run_id == run_id).with_for_update())


def held_by_id(session: Session, run: int) -> Run | None:
    """As `held`, for a run that is named by its row."""
    return session.get(Run, run, with_for_update=True)


def by_number(session: Session, branch: str, number: int) -> Run | None:
    """Return the run of a branch that has a number, if there is one."""
    return session.scalar(select(Run).where(Run.branch == branch, Run.number == number))


def dag_ids(session: Session) -> set[str]:
    """Return the ids of the DAGs that ever had a run."""
    return set(session.scalars(select(Run.dag_id).distinct()))


def not_due(session: Session, before: datetime) -> set[tuple[str, str]]:
    """Return the runs that did not end before a time, as DAG id and run id."""
    return {(row.dag_id, row.run_id) for row in session.execute(select(Run.dag_id, Run.run_id).where(~_due(before)))}


def newest_builds(session: Session, branch: str, run_ids: Iterable[str], *, count: int) -> set[str]:
    """Return, of the runs that are named, the newest `count` of every package, as run ids.

    A backfill's build is nobody's newest: it is of an old revision, and would push a new one out.
    """
    named = select(Run).where(Run.branch == branch, Run.run_id.in_(list(run_ids)), Run.kind != Kind.BACKFILL)
    query = named.order_by(Run.number.desc())
    of_package: dict[tuple[str, str], list[str]] = defaultdict(list)
    for run in session.scalars(query):
        of_package[run.namespace, run.repo].append(run.run_id)
    return {run_id for builds in of_package.values() for run_id in builds[:count]}


def images_there(session: Session, branch: str) -> list[tuple[Image, Run]]:
    """Return the images of a branch whose files are kept so far, with their runs, the newest first."""
    query = select(Image, Run).join(Run, Image.run_id == Run.id)
    rows = session.execute(query.where(Image.branch == branch, Image.removed_at.is_(None)).order_by(Image.id.desc()))
    return [(image, run) for image, run in rows]


def newest_good(images: Iterable[Image], *, count: int) -> set[int]:
    """Return the ids of the `count` images that passed their smoke test last."""
    good = [(image.smoke_passed_at, image.id) for image in images if image.smoke_passed_at is not None]
    return {image for _, image in sorted(good, reverse=True)[:count]}


def composes(session: Session, branch: str, before: datetime) -> set[str]:
    """Return the commits that the runs of a branch made or used that did not end before a time."""
    query = select(StageResult.outputs).join(Run).where(Run.branch == branch, ~_due(before))
    found: Iterable[dict[str, Any]] = session.scalars(query)
    return {str(outputs["compose_rev"]) for outputs in found if outputs.get("compose_rev")}


def _due(before: datetime) -> ColumnElement[bool]:
    return Run.status.is_not(None) & Run.ended_at.is_not(None) & (Run.ended_at < before)
