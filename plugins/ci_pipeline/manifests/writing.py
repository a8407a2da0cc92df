"""Brings what lies beside the images in step with the database: manifests of what is validated, and only of that.

It is tried when a run ends, and again by the reconciler, so that nothing is lost when it is cut short or cannot be
done: first the files, then the row that says they are there.
"""

import hashlib
import logging
import re
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

from ci_pipeline import store
from ci_pipeline.errors import ManifestError
from ci_pipeline.manifests import contents, files, keys, provenance
from ci_pipeline.manifests.manifest import beside, manifest_of, provenance_of
from ci_pipeline.settings import Settings
from ci_pipeline.store import images, runs
from ci_pipeline.store.tables import Image

log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*")


def deliver(settings: Settings) -> list[tuple[str, str]]:
    """Write what is missing beside validated images, and remove what tells of one that is not validated any more.

    What cannot be done is a warning with what to do about it, and is tried again the next time.

    Returns:
        What was done: a run id and a sentence for each image.
    """
    with store.session() as session:
        rows = images.stale(session)
    return [done for row in rows if (done := _deliver_or_leave(settings, row))]


def folder_of(settings: Settings, branch: str) -> Path:
    """Return the folder of a branch's images."""
    return settings.artifacts.folder / "fedora-atomic" / branch / "images"


def _deliver_or_leave(settings: Settings, row: int) -> tuple[str, str] | None:
    try:
        with store.session() as session:
            return _deliver(session, settings, row)
    except ManifestError as error:
        log.warning("an image is not delivered yet: %s", error)
    except OSError as error:
        log.warning("an image is not delivered yet: %s: %s", error.strerror or error, error.filename)
    return None


def _deliver(session: Session, settings: Settings, row: int) -> tuple[str, str] | None:
    """Bring one image in step. Its run's row is held: nobody clears or ends it, and nobody else writes here."""
    found = session.get(Image, row)
    if found is None:
        return None
    run = runs.locked(session, found.run_id)
    session.refresh(found)
    if row not in images.stale(session):
        return None
    if not _NAME.fullmatch(found.name):
        raise ManifestError(f"{found.name[:80]!r} is not the name of an image's file")
    if found.validated_at is None:
        _withdraw(settings, found)
        return run.run_id, f"{found.name} is not validated any more: its manifest is withdrawn"
    _write(session, settings, found)
    return run.run_id, f"{found.name} is validated: its manifest is written"


def _withdraw(settings: Settings, image: Image) -> None:
    for name in beside(image.name):
        files.remove(folder_of(settings, image.branch) / name)
    image.manifest_sha256 = ""


def _write(session: Session, settings: Settings, image: Image) -> None:
    signer = keys.signer(settings.provenance)
    folder = folder_of(settings, image.branch)
    described = contents.manifest(session, settings, image)
    _check(folder / image.name, image)
    raw = described.written()
    sha256 = hashlib.sha256(raw).hexdigest()
    # An older one vouches for an older manifest.
    files.remove(folder / provenance_of(image.name))
    files.write(folder / manifest_of(image.name), raw)
    if signer:
        builder = settings.provenance.builder or settings.airflow.url
        told = provenance.statement(described, manifest_sha256=sha256, builder=builder)
        files.write(folder / provenance_of(image.name), provenance.signed(told, signer))
    image.manifest_sha256 = sha256


def _check(path: Path, image: Image) -> None:
    """Raise ManifestError unless the image is the file that was tested."""
    try:
        same = path.stat().st_size == image.size and files.digest_of(path) == image.sha256
    except FileNotFoundError as error:
        raise ManifestError(f"{path} is not there any more; clear generate_image to make it again") from error
    if not same:
        raise ManifestError(f"{path} is not the file that was tested; clear generate_image to make it again")
