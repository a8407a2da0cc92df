"""What is kept of earlier runs, by the key of what it was made of."""

from typing import Final

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session, joinedload, selectinload

from ci_pipeline.outcome import Status
from ci_pipeline.store.tables import Run, StageResult

# A package has few builds that are kept; with this many known keys a request is a few kilobytes.
_MOST: Final = 100


def keys(session: Session, run: Run, stage: str) -> list[str]:
    """Return the keys of which something is kept for a stage of a run: of its package alone, on any branch."""
    newest = _of_package(run, stage).with_only_columns(StageResult.content_key).order_by(StageResult.id.desc())
    return list(dict.fromkeys(session.scalars(newest.limit(_MOST))))


def find(session: Session, run: Run, stage: str, key: str) -> StageResult | None:
    """Return the result whose output is to be reused: of the same revision if there is one, else the newest."""
    query = _of_package(run, stage).where(StageResult.content_key == key)
    query = query.options(joinedload(StageResult.run), selectinload(StageResult.artifacts))
    return session.scalar(query.order_by((Run.rev == run.rev).desc(), StageResult.id.desc()).limit(1))


def forget(session: Session, result: int) -> None:
    """Never reuse what a result made: it is not there any more, or not as it was."""
    session.execute(update(StageResult).where(StageResult.id == result).values(content_key=""))


def earlier_ends(session: Session, run: Run, stage: str) -> list[tuple[str, str]]:
    """Return status and fault of the tries of a stage that have ended."""
    ended = select(StageResult.status, StageResult.fault).where(StageResult.run_id == run.id)
    rows = session.execute(ended.where(StageResult.stage == stage, StageResult.status.is_not(None)))
    return [(row.status, row.fault) for row in rows]


def _of_package(run: Run, stage: str) -> Select[StageResult]:
    """Return the query of good results of the package whose files are kept. Of a run itself nothing is reused."""
    good = select(StageResult).join(Run).where(StageResult.stage == stage, StageResult.status == Status.SUCCESS)
    same = good.where(Run.namespace == run.namespace, Run.repo == run.repo, Run.id != run.id)
    return same.where(StageResult.content_key != "", Run.pruned_at.is_(None))
