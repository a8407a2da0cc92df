"""The images of every branch: which booted, which is the latest, and when the next one is due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from sqlalchemy import Text, column, func, select, true
from sqlalchemy.orm import Session, aliased

from ci_pipeline.manifests.manifest import manifest_of
from ci_pipeline.settings import Settings
from ci_pipeline.store.tables import Image, Run

MOST: Final = 20


@dataclass(frozen=True, slots=True)
class Shown:
    """An image. `size` in bytes; `latest`: the newest of its branch that booted.

    `url` is "" when its file is gone, `manifest_url` when it has no manifest.
    """

    name: str
    run: str
    version: str
    compose_rev: str
    size: int
    generated_at: datetime
    smoke_passed_at: datetime | None
    validated_at: datetime | None
    removed_at: datetime | None
    latest: bool
    url: str
    manifest_url: str


@dataclass(frozen=True, slots=True)
class BranchImages:
    """A branch, its newest images, and when the next is due; `due_at` None: with the next change that passes."""

    branch: str
    images: tuple[Shown, ...]
    last_good: datetime | None
    due_at: datetime | None

    @property
    def due(self) -> str:
        """Say when the next image is due, in a sentence."""
        if self.last_good is None:
            return "No image has booted yet: one is due with the next change that passes its integration tests."
        if self.due_at is None or self.due_at <= datetime.now(UTC):
            return "An image is due: the next change that passes its integration tests makes one."
        return f"The next image is due at {self.due_at:%Y-%m-%d %H:%M} UTC, with the first change that passes then."


def per_branch(session: Session, settings: Settings) -> list[BranchImages]:
    """Return the newest images of every branch that has a pipeline; two queries, however many there are."""
    branches = sorted(settings.branches)
    newest = _newest(session, branches)
    good = _last_good(session, branches)
    return [_branch(settings, branch, newest.get(branch, []), good.get(branch)) for branch in branches]


def _branch(settings: Settings, branch: str, rows: list[tuple[Image, str]], good: Image | None) -> BranchImages:
    last = good.smoke_passed_at if good else None
    return BranchImages(
        branch=branch,
        images=tuple(
            _shown(settings, image, run, latest=good is not None and image.id == good.id) for image, run in rows
        ),
        last_good=last,
        due_at=last + timedelta(hours=settings.image.interval_hours) if last else None,
    )


def _shown(settings: Settings, image: Image, run: str, *, latest: bool) -> Shown:
    base = settings.artifacts.url.rstrip("/")
    there = image.removed_at is None and base.startswith(("http://", "https://"))
    url = f"{base}/fedora-atomic/{quote(image.branch)}/images/{quote(image.name)}" if there else ""
    return Shown(
        name=image.name,
        run=run,
        version=image.version,
        compose_rev=image.compose_rev,
        size=image.size,
        generated_at=image.generated_at,
        smoke_passed_at=image.smoke_passed_at,
        validated_at=image.validated_at,
        removed_at=image.removed_at,
        latest=latest,
        url=url,
        manifest_url=manifest_of(url) if url and image.has_manifest else "",
    )


def _newest(session: Session, branches: Sequence[str]) -> dict[str, list[tuple[Image, str]]]:
    branch = func.unnest(branches, type_=Text).table_valued(column("name", Text)).render_derived()
    mine = select(Image).where(Image.branch == branch.c.name).order_by(Image.id.desc()).limit(MOST).lateral()
    image = aliased(Image, mine)
    query = select(image, Run.branch, Run.number).select_from(branch).join(mine, true())
    found: dict[str, list[tuple[Image, str]]] = {}
    for row, run_branch, number in session.execute(query.join(Run, Run.id == image.run_id).order_by(image.id.desc())):
        found.setdefault(row.branch, []).append((row, f"{run_branch}/{number}"))
    return found


def _last_good(session: Session, branches: Sequence[str]) -> dict[str, Image]:
    branch = func.unnest(branches, type_=Text).table_valued(column("name", Text)).render_derived()
    booted = select(Image).where(Image.branch == branch.c.name, Image.smoke_passed_at.is_not(None))
    mine = booted.order_by(Image.smoke_passed_at.desc()).limit(1).lateral()
    image = aliased(Image, mine)
    return {row.branch: row for row in session.scalars(select(image).select_from(branch).join(mine, true()))}
