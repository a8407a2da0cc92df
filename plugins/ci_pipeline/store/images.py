"""Images: generated, smoke-passed, due."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from ci_pipeline.store.tables import Image, Run


def record(session: Session, *, run: int, branch: str, outputs: dict[str, Any]) -> Image:
    """Add the image that `generate_image` made, once per run and name."""
    name = outputs["image_name"]
    found = session.scalar(select(Image).where(Image.run_id == run, Image.name == name))
    image = found or Image(run_id=run, branch=branch, name=name)
    image.compose_rev, image.version = outputs["compose_rev"], outputs["version"]
    image.sha256, image.size = outputs["image_sha256"], outputs["image_size"]
    image.generated_at, image.removed_at = datetime.now(UTC), None
    image.smoke_passed_at, image.validated_at = None, None
    session.add(image)
    return image


def smoke_passed(session: Session, *, run: int, name: str) -> None:
    """Record that a run's image booted into its commit: the interval counts from now."""
    for image in session.scalars(select(Image).where(Image.run_id == run, Image.name == name)):
        image.smoke_passed_at = datetime.now(UTC)


def validated(session: Session, *, branch: str, name: str) -> None:
    """Record that the conformance tests passed on an image, the newest of that name."""
    named = select(Image).where(Image.branch == branch, Image.name == name)
    image = session.scalar(named.order_by(Image.id.desc()).limit(1))
    if image is not None:
        image.validated_at = datetime.now(UTC)


def under_test(session: Session, run: Run) -> dict[str, Any]:
    """Return `image_name` and `image_sha256` of what a run's cluster is made of: its own, else the branch's newest."""
    own = session.scalar(_good(run.branch).where(Image.run_id == run.id).limit(1))
    image = own or newest_good(session, run.branch)
    return {"image_name": image.name, "image_sha256": image.sha256} if image else {}


def newest_good(session: Session, branch: str) -> Image | None:
    """Return the branch's newest image that has booted, None when there is none or its file is gone."""
    return session.scalar(_good(branch).limit(1))


def _good(branch: str) -> Select[Image]:
    good = select(Image).where(Image.branch == branch, Image.smoke_passed_at.is_not(None), Image.removed_at.is_(None))
    return good.order_by(Image.smoke_passed_at.desc())


def last_good(session: Session, branch: str) -> datetime | None:
    """Return when the branch's last smoke-passed image passed, or None if there is none."""
    query = select(Image.smoke_passed_at).where(Image.branch == branch, Image.smoke_passed_at.is_not(None))
    return session.scalar(query.order_by(Image.smoke_passed_at.desc()).limit(1))


def listed(session: Session, *, branch: str | None = None, limit: int = 50, before: int | None = None) -> list[Image]:
    """Return images, the newest first; `before`: only those older than the one of this id."""
    query = select(Image).order_by(Image.id.desc()).limit(limit)
    query = query if before is None else query.where(Image.id < before)
    return list(session.scalars(query if branch is None else query.where(Image.branch == branch)))


def named(session: Session, name: str) -> Image | None:
    """Return the newest image of a name, None when there is none."""
    return session.scalar(select(Image).where(Image.name == name).order_by(Image.id.desc()).limit(1))
