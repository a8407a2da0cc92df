"""Waivers: someone takes it upon themselves that a test need not have passed. Nothing is deleted; it is taken back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from ci_pipeline.bus import gating_schemas
from ci_pipeline.errors import WaiverError
from ci_pipeline.gating import announcing, lookup, policies
from ci_pipeline.gating.decision import Subject
from ci_pipeline.settings import Settings
from ci_pipeline.store import downstream_tables, runs, tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be waived, or no longer (`waived` false). `testcase` is its full name, or the event alone."""

    subject: Subject
    product_version: str
    testcase: str
    why: str
    waived: bool = True


class Waiver(BaseModel):
    """A waiver as WaiverDB shows it."""

    model_config = ConfigDict(frozen=True)

    id: int
    subject_type: str
    subject_identifier: str
    subject: dict[str, str]
    product_version: str
    testcase: str
    waived: bool
    username: str
    proxied_by: None = None
    comment: str
    timestamp: datetime

    @classmethod
    def of(cls, row: downstream_tables.Waiver) -> Self:
        """Read a row."""
        return cls(
            id=row.id,
            subject_type=row.subject_type,
            subject_identifier=row.subject_identifier,
            subject={"type": row.subject_type, "item": row.subject_identifier},
            product_version=row.product_version,
            testcase=row.testcase,
            waived=row.waived,
            username=row.who,
            comment=row.why,
            timestamp=row.created_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which waivers are wanted; None does not matter. `obsolete`: those that later ones took the place of, too."""

    subject_type: str | None = None
    subject_identifier: str | None = None
    product_version: str | None = None
    testcase: str | None = None
    username: str | None = None
    obsolete: bool = False


def add(session: Session, settings: Settings, wish: Wish, *, who: str) -> Waiver:
    """Waive, or take a waiver back: store it, announce it, and every decision that changes by it.

    The same wish of the same person again changes nothing: a form that is sent twice is one waiver.

    Raises:
        WaiverError: there is no such testcase, or no such product.
    """
    testcase = _testcase(settings, wish.testcase)
    _check_product(settings, wish.product_version)
    run = _locked_run(session, settings, wish)
    last = session.scalar(
        lookup.standing([(wish.subject.type, wish.subject.identifier)], wish.product_version).where(
            downstream_tables.Waiver.testcase == testcase
        )
    )
    if last and (last.waived, last.who, last.why) == (wish.waived, who, wish.why):
        return Waiver.of(last)
    row = _store(session, wish, testcase, who)
    told = Waiver.of(row)
    body = told.model_dump(mode="json")
    number = run.id if run else None
    announcing.say(session, settings, gating_schemas.WAIVER_NEW, key=f"waiver {row.id}", body=body, run=number)
    if run:
        announcing.reconsider(session, settings, run)
    return told


def page(session: Session, wanted: Filter, *, limit: int, skip: int = 0) -> tuple[list[Waiver], int]:
    """Return waivers, the newest first, and how many there are in all."""
    query = _matching(wanted)
    count = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    rows = session.scalars(query.order_by(downstream_tables.Waiver.id.desc()).limit(limit).offset(skip))
    return [Waiver.of(row) for row in rows], count


def standing(session: Session, names: Sequence[tuple[str, str]], product_version: str) -> list[Waiver]:
    """Return the newest waiver of each test of subjects, `(type, identifier)`, the newest first."""
    newest = lookup.standing(names, product_version).order_by(downstream_tables.Waiver.id.desc())
    return [Waiver.of(row) for row in session.scalars(newest)]


def _matching(wanted: Filter) -> Select[downstream_tables.Waiver]:
    row = downstream_tables.Waiver
    chosen = {
        row.subject_type: wanted.subject_type,
        row.subject_identifier: wanted.subject_identifier,
        row.product_version: wanted.product_version,
        row.testcase: wanted.testcase,
        row.who: wanted.username,
    }
    query = select(row).where(*(column == value for column, value in chosen.items() if value is not None))
    if wanted.obsolete:
        return query
    same = (row.subject_type, row.subject_identifier, row.product_version, row.testcase)
    return query.where(row.id.in_(select(func.max(row.id)).group_by(*same)))


def _testcase(settings: Settings, asked: str) -> str:
    known = policies.testcases(settings)
    if asked in known:
        return asked
    if asked in policies.EVENTS:
        return policies.testcase_of(asked, settings)
    raise WaiverError(f"there is no testcase {asked[:200]!r}; one of: {', '.join(known)}")


def _check_product(settings: Settings, asked: str) -> None:
    known = [settings.product_of(branch) for branch in settings.branches]
    if asked not in known:
        raise WaiverError(f"there is no product_version {asked[:200]!r}; one of: {', '.join(known)}")


def _locked_run(session: Session, settings: Settings, wish: Wish) -> tables.Run | None:
    """Return the run that decides about the subject, held; and hold the subject.

    Whoever writes about a run holds it first and then its subjects, so this does, too. A run that came meanwhile is
    found by the second look.
    """
    first = _hold(session, settings, wish)
    announcing.lock(session, [wish.subject.identifier])
    return _hold(session, settings, wish) or first


def _hold(session: Session, settings: Settings, wish: Wish) -> tables.Run | None:
    found = lookup.deciding_run(session, settings, wish.subject, wish.product_version)
    return runs.locked(session, found.number) if found else None


def _store(session: Session, wish: Wish, testcase: str, who: str) -> downstream_tables.Waiver:
    row = downstream_tables.Waiver(
        subject_type=wish.subject.type,
        subject_identifier=wish.subject.identifier,
        product_version=wish.product_version,
        testcase=testcase,
        waived=wish.waived,
        who=who,
        why=wish.why,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row
