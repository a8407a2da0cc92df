"""Images, `images/<name>`, with what tells of them: those the database knows, and what was cut short being written."""

import re
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Final

from ci_pipeline import store
from ci_pipeline.manifests.manifest import beside
from ci_pipeline.retention.folder import Folder
from ci_pipeline.retention.sweep import Sweep
from ci_pipeline.store import kept
from ci_pipeline.store.tables import Image

_SCRATCH: Final = re.compile(r"\.fedora-atomic-.+\.qcow2(\.manifest\.json|\.intoto\.jsonl)?\.\d+")


def sweep(pass_: Sweep) -> None:
    """Remove images of runs that ended long ago, but for the newest that booted and the one that is `latest`."""
    for branch in pass_.branches.folders():
        with pass_.tolerating():
            folder = pass_.branches.inside(branch.name, "images")
            for image in images_that_go(pass_, branch.name):
                _remove(pass_, folder, image)
            pass_.remove_leftovers(folder, [entry for entry in folder.entries() if _SCRATCH.fullmatch(entry.name)])


def images_that_go(pass_: Sweep, branch: str) -> list[Image]:
    """Return the images of a branch that are not kept any more and whose files are still there."""
    with store.session() as session:
        rows = kept.images_there(session, branch)
    newest = kept.newest_good((image for image, _ in rows), count=pass_.settings.retention.images)
    latest = _linked(pass_.branches.inside(branch, "images"))
    stay = {
        image.name
        for image, run in rows
        if image.id in newest or image.name in latest or not kept.is_due(run, pass_.before)
    }
    return [image for image, _ in rows if image.name not in stay]


def _linked(folder: Folder) -> set[str]:
    """Return the names that symlinks in the folder point to: `latest.qcow2` does."""
    return {PurePosixPath(folder.target_of(entry.name)).name for entry in folder.entries() if entry.is_link}


def _remove(pass_: Sweep, folder: Folder, image: Image) -> None:
    """Remove an image's file after what tells of it, and write that down, unless its run has begun anew."""
    with store.session() as session:
        row = session.get(Image, image.id)
        run = kept.held_by_id(session, image.run_id)
        if row is None or run is None or not kept.is_due(run, pass_.before):
            return
        there = {entry.name for entry in folder.entries()}
        names = dict.fromkeys(beside(image.name), "manifest") | {image.name: "image"}
        gone = all(pass_.remove(kind, folder, name) for name, kind in names.items() if name in there)
        if gone and not pass_.dry_run:
            row.removed_at = datetime.now(UTC)
