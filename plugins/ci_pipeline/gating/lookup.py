"""Reads what is known of a subject: the run that decides, its tries, the waivers. A fixed number of queries."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.orm import Session

from ci_pipeline.errors import StoreError
from ci_pipeline.gating import outcomes
from ci_pipeline.gating.decision import Found, Subject
from ci_pipeline.gating.outcomes import Ran, Tried
from ci_pipeline.gating.policies import testcase_of
from ci_pipeline.gating_sections import KOJI_BUILD
from ci_pipeline.kind import Kind
from ci_pipeline.settings import Settings
from ci_pipeline.stages import GENERATE_IMAGE
from ci_pipeline.store.downstream_tables import Waiver
from ci_pipeline.store.tables import Image, Run, StageResult

_COMPOSE: Final = "compose"
_IMAGE: Final = "image"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a subject.

    Attributes:
        subject: what it is.
        package: the package it is, or that its run is of.
        run: the run that decides; None when there is none.
        names: what it may be waived by: an NVR and the one of its spec are the same package.
        found: how its testcases stand, by their full names.
    """

    subject: Subject
    package: str
    run: Ran | None = None
    names: tuple[str, ...] = ()
    found: dict[str, Found] = field(default_factory=dict)


def of(session: Session, settings: Settings, subject: Subject, product_version: str) -> Known:
    """Read what is known of a subject of a product.

    Of several runs the newest decides. A side run never does: it tried a past revision, or on another day's branch.
    """
    run = deciding_run(session, settings, subject, product_version)
    if run is None:
        return Known(subject, _package_in(subject), names=(subject.identifier,))
    tries = tries_of(session, run.number)
    return known(settings, subject, run, tries)


def known(settings: Settings, subject: Subject, run: Ran, tries: Iterable[Tried]) -> Known:
    """Return what a run and its tries say of a subject."""
    about = [one for one in tries if subject.type != _COMPOSE or one.compose_rev == subject.identifier]
    found = {testcase_of(event, settings): one for event, one in outcomes.found(run, about).items()}
    names = [subject.identifier]
    if subject.type == KOJI_BUILD:
        names += [last(about, "original_spec_nvr"), last(about, "nvr")]
    return Known(subject, run.repo, run, tuple(dict.fromkeys(name for name in names if name)), found)


def subjects_of(tries: Sequence[Tried]) -> list[Subject]:
    """Return what a run's tries are about by now. A package goes by its spec's NVR: Koji and Bodhi know no other."""
    images = [one for one in tries if one.stage == GENERATE_IMAGE.name]
    named = {
        KOJI_BUILD: last(tries, "original_spec_nvr"),
        _COMPOSE: last(tries, "compose_rev"),
        _IMAGE: last(images, "image_name"),
    }
    return [Subject(type_, identifier) for type_, identifier in named.items() if identifier]


def last(tries: Sequence[Tried], name: str) -> str:
    """Return what tries were about last: one that runs again may not know yet what it knew before."""
    return next((value for one in reversed(tries) if (value := getattr(one, name))), "")


def deciding_run(session: Session, settings: Settings, subject: Subject, product_version: str) -> Ran | None:
    """Return the newest run of a subject on the branch of a product, side runs left out."""
    branches = [name for name in settings.branches if settings.product_of(name) == product_version]
    columns = (Run.id, Run.branch, Run.number, Run.repo, Run.status, Run.reason)
    runs = select(*columns).where(Run.id.in_(_runs_about(subject)), Run.kind != Kind.BACKFILL, Run.branch.in_(branches))
    row = session.execute(runs.order_by(Run.id.desc()).limit(1)).one_or_none()
    return ran(row) if row else None


def product_of(session: Session, settings: Settings, subject: Subject) -> str:
    """Return the product of the newest run of a subject.

    Raises:
        StoreError: it has none; whoever asks has to name the product.
    """
    newest = select(Run.branch).where(Run.id.in_(_runs_about(subject))).order_by(Run.id.desc()).limit(1)
    product = settings.product_of(session.scalar(newest) or "")
    if not product:
        raise StoreError(f"no run is about {subject.type} {subject.identifier[:200]}; name its product (--product)")
    return product


def ran(row: Any) -> Ran:
    """Return what matters of a run's row."""
    return Ran(row.id, f"{row.branch}/{row.number}", row.repo, row.status, row.reason)


def tries_of(session: Session, run: int) -> list[Tried]:
    """Return all tries of a run, in the order they began."""
    columns: list[Any] = [getattr(StageResult, name) for name in Tried.__dataclass_fields__ if name != "image_name"]
    columns.append(StageResult.outputs["image_name"].astext)
    rows = session.execute(select(*columns).where(StageResult.run_id == run).order_by(StageResult.id))
    return [Tried(*row) for row in rows]


def waived(session: Session, every: Sequence[Known], product_version: str) -> dict[Subject, set[str]]:
    """Return the testcases that are waived of subjects: by any of its names, unless taken back by the same one."""
    names = [(one.subject.type, name) for one in every for name in one.names]
    newest = standing(names, product_version)
    waivers = [row for row in session.scalars(newest) if row.waived]
    return {
        one.subject: {
            row.testcase
            for row in waivers
            if row.subject_type == one.subject.type and row.subject_identifier in one.names
        }
        for one in every
    }


def standing(names: Sequence[tuple[str, str]], product_version: str) -> Select[Waiver]:
    """Return the query of the newest waiver of each testcase of subjects, `(type, identifier)`."""
    what = (Waiver.subject_type, Waiver.subject_identifier)
    of_them = select(func.max(Waiver.id)).where(tuple_(*what).in_(names), Waiver.product_version == product_version)
    return select(Waiver).where(Waiver.id.in_(of_them.group_by(*what, Waiver.testcase)))


def _runs_about(subject: Subject) -> Any:
    if subject.type == KOJI_BUILD:
        built = select(StageResult.run_id).where(StageResult.nvr == subject.identifier)
        return built.union(select(StageResult.run_id).where(StageResult.original_spec_nvr == subject.identifier))
    if subject.type == _COMPOSE:
        return select(StageResult.run_id).where(StageResult.compose_rev == subject.identifier)
    if subject.type == _IMAGE:
        return select(Image.run_id).where(Image.name == subject.identifier)
    return []


def _package_in(subject: Subject) -> str:
    return subject.identifier.rsplit("-", 2)[0] if subject.type == KOJI_BUILD else ""
