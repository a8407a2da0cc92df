"""The index of revisions: the known changes of each branch, each at a moment of its own."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ci_pipeline.change import Change
from ci_pipeline.errors import StoreError
from ci_pipeline.store.tables import Revision

_MICROSECONDS: Final = 1_000_000
# What a commit may claim of its time: anyone can write anything there.
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2106, 1, 1, tzinfo=UTC)


class Place(NamedTuple):
    """A package on a branch."""

    namespace: str
    repo: str
    branch: str

    def __str__(self) -> str:
        """`rpms/mesa on f26`."""
        return f"{self.namespace}/{self.repo} on {self.branch}"


def add(session: Session, change: Change, committed_at: datetime | None) -> bool:
    """Add a change, unless it is known. It keeps the first time that is told: runs are remembered by it.

    Args:
        session: an open transaction.
        change: what was pushed.
        committed_at: when it was committed; None, or out of all reason: not known, which counts as now.

    Returns:
        Whether it was new.
    """
    second = _second(committed_at)
    for microsecond in _microseconds(change):
        row = insert(Revision).values(committed_at=second + timedelta(microseconds=microsecond), **change.model_dump())
        if session.scalar(row.on_conflict_do_nothing().returning(Revision.rev)):
            return True
        if moment(session, change):
            return False
    msg = f"the branch {change.branch} has a million revisions of {second}; that cannot be true"
    raise StoreError(msg)


def add_all(session: Session, changes: Sequence[tuple[Change, datetime | None]]) -> None:
    """Add changes, each with when it was committed, as `add` does; at once where each can have its own moment."""
    rows = [
        {"committed_at": _second(told) + timedelta(microseconds=next(iter(_microseconds(one)))), **one.model_dump()}
        for one, told in changes
    ]
    if not rows:
        return
    added = insert(Revision).values(rows).on_conflict_do_nothing()
    key = (Revision.namespace, Revision.repo, Revision.rev, Revision.branch)
    new = {tuple(row) for row in session.execute(added.returning(*key))}
    for change, told in changes:
        if tuple(change.model_dump().values()) not in new:
            add(session, change, told)


def moment(session: Session, change: Change) -> datetime | None:
    """Return the moment of a change, or None if it is not known."""
    return session.scalar(select(Revision.committed_at).filter_by(**change.model_dump()))


def between(session: Session, branch: str, earliest: datetime, latest: datetime, *, limit: int) -> list[Revision]:
    """Return the revisions of a branch from one moment to another, both included, the oldest first."""
    query = select(Revision).where(Revision.branch == branch, Revision.committed_at.between(earliest, latest))
    return list(session.scalars(query.order_by(Revision.committed_at).limit(limit)))


def listed(session: Session, *, branch: str | None, repo: str | None, limit: int) -> list[Revision]:
    """Return revisions, the newest first: all of them, or those of a branch, of a package."""
    given = {"branch": branch, "repo": repo}
    query = select(Revision).filter_by(**{name: value for name, value in given.items() if value is not None})
    ordered = query.order_by(Revision.committed_at.desc(), Revision.branch, Revision.namespace, Revision.repo)
    return list(session.scalars(ordered.limit(limit)))


def newest_of(session: Session, place: Place, *, limit: int) -> list[Revision]:
    """Return the newest revisions of a package on a branch, the oldest of them first."""
    query = _of(place).order_by(Revision.committed_at.desc()).limit(limit)
    return list(reversed(session.scalars(query).all()))


def from_to(session: Session, place: Place, first: str, last: str, *, limit: int) -> list[Revision]:
    """Return the revisions of a package on a branch from one to another, both included, the oldest first.

    Args:
        session: an open transaction.
        place: the package and the branch.
        first: a known revision; its first digits will do.
        last: another one.
        limit: at most so many.

    Raises:
        StoreError: no revision, or more than one, begins so.
    """
    begin, end = sorted([_moment_of(session, place, first), _moment_of(session, place, last)])
    query = _of(place).where(Revision.committed_at.between(begin, end)).order_by(Revision.committed_at)
    return list(session.scalars(query.limit(limit)))


def changes_of(rows: Iterable[Revision]) -> list[Change]:
    """Return the changes that revisions are."""
    return [Change(namespace=row.namespace, repo=row.repo, rev=row.rev, branch=row.branch) for row in rows]


def _second(committed_at: datetime | None) -> datetime:
    """Return the second of a commit; now, if it tells none or one that is out of all reason."""
    told = committed_at if committed_at and _EARLIEST <= committed_at < _LATEST else datetime.now(UTC)
    return told.replace(microsecond=0)


def _of(place: Place) -> Select[Revision]:
    return select(Revision).filter_by(**place._asdict())


def _moment_of(session: Session, place: Place, rev: str) -> datetime:
    found = session.scalars(_of(place).where(Revision.rev.startswith(rev, autoescape=True)).limit(2)).all()
    if len(found) != 1:
        known = "more than one known revision" if found else "no known revision"
        msg = f"{known} of {place} begins with {rev!r}; `ci-pipeline revisions list` shows them"
        raise StoreError(msg)
    return found[0].committed_at


def _microseconds(change: Change) -> Iterable[int]:
    """Yield the microseconds a change may take, its own first: the same index comes of the same history."""
    first = int(change.rev[:10], 16) % _MICROSECONDS
    return ((first + step) % _MICROSECONDS for step in range(_MICROSECONDS))
