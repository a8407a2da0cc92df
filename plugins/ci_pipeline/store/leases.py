"""The compose lease of a branch: held by one run from its compose until its integration tests have ended."""

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ci_pipeline.store.tables import ComposeLease, Run


def acquire(session: Session, *, branch: str, run: int) -> Run | None:
    """Take the branch's compose lease for a run. A run that has ended holds nothing any more.

    Returns:
        None when the run holds it now (or held it already), else the run that holds it.
    """
    ended = select(Run.id).where(Run.status.is_not(None))
    session.execute(delete(ComposeLease).where(ComposeLease.branch == branch, ComposeLease.run_id.in_(ended)))
    session.execute(insert(ComposeLease).values(branch=branch, run_id=run).on_conflict_do_nothing())
    holder = session.scalar(select(ComposeLease.run_id).where(ComposeLease.branch == branch))
    return None if holder in {run, None} else session.get(Run, holder)


def release(session: Session, *, run: int) -> None:
    """Give back what a run holds, if it holds anything."""
    session.execute(delete(ComposeLease).where(ComposeLease.run_id == run))
