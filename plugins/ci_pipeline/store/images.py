"""Images: generated, smoke-passed, validated, due."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from ci_pipeline.errors import StoreError
from ci_pipeline.store.tables import STALE, Image, Run


def record(session: Session, *, run: int, branch: str, outputs: dict[str, Any]) -> Image:
    """Add the image that `generate_image` made, once per run and name."""
    name = outputs["image_name"]
    found = session.scalar(select(Image).where(Image.run_id == run, Image.name == name))
    image = found or Image(run_id=run, branch=branch, name=name)
    image.compose_rev, image.version = outputs["compose_rev"], outputs["version"]
    image.sha256, image.size = outputs["image_sha256"], outputs["image_size"]
    image.generated_at, image.removed_at = datetime.now(UTC), None
    image.smoke_passed_at, image.validated_at = None, None
    # Whoever wrote the file has removed what told of the one before it.
    image.manifest_sha256 = ""
    session.add(image)
    return image


def smoke_passed(session: Session, *, run: int, name: str) -> None:
    """Record that a run's image booted into its commit: the interval counts from now."""
    for image in session.scalars(select(Image).where(Image.run_id == run, Image.name == name)):
        image.smoke_passed_at = datetime.now(UTC)


def validated(session: Session, *, branch: str, name: str) -> None:
    """Record that the conformance tests passed on an image, the newest of that name; its manifest is to say so."""
    image = session.scalar(_named(branch, name))
    if image is not None:
        image.validated_at, image.manifest_sha256 = datetime.now(UTC), STALE


def settle(session: Session, *, run: int, compose_rev: str, validated: bool) -> None:
    """Record at the end of a run whether the image of its compose is validated; what lies beside it is to follow."""
    for image in session.scalars(select(Image).where(Image.run_id == run, Image.compose_rev == compose_rev)):
        if validated:
            image.validated_at, image.manifest_sha256 = image.validated_at or datetime.now(UTC), STALE
        else:
            image.validated_at, image.manifest_sha256 = None, image.manifest_sha256 and STALE


def stale(session: Session) -> list[int]:
    """Return the rows of images whose manifest is to be written, or to be withdrawn, the oldest first.

    While the run that made an image goes on, nothing is certain of it.
    """
    query = select(Image.id).join(Run, Image.run_id == Run.id).where(Image.manifest_sha256 == STALE)
    settled = query.where(Image.removed_at.is_(None), Run.status.is_not(None))
    return list(session.scalars(settled.order_by(Image.id)))


def find(session: Session, name: str) -> Image:
    """Return the newest image of a name.

    Raises:
        StoreError: there is none.
    """
    image = session.scalar(select(Image).where(Image.name == name).order_by(Image.id.desc()).limit(1))
    if image is None:
        msg = f"no image {name}; `ci-pipeline images` lists them"
        raise StoreError(msg)
    return image


def of_branch(session: Session, *, branch: str, name: str) -> Image:
    """Return the newest image of a name on a branch.

    Raises:
        StoreError: there is none.
    """
    image = session.scalar(_named(branch, name))
    if image is None:
        msg = f"{branch} has no image {name}; `ci-pipeline images` lists them"
        raise StoreError(msg)
    return image


def under_test(session: Session, run: Run) -> dict[str, Any]:
    """Return `image_name` and `image_sha256` of what a run's cluster is made of: its own, else the branch's newest."""
    own = session.scalar(_good(run.branch).where(Image.run_id == run.id).limit(1))
    image = own or newest_good(session, run.branch)
    return {"image_name": image.name, "image_sha256": image.sha256} if image else {}


def newest_good(session: Session, branch: str) -> Image | None:
    """Return the branch's newest image that has booted, None when there is none or its file is gone."""
    return session.scalar(_good(branch).limit(1))


def _named(branch: str, name: str) -> Select[Image]:
    named = select(Image).where(Image.branch == branch, Image.name == name)
    return named.order_by(Image.id.desc()).limit(1)


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
