"""Commits of the branches' OSTree repositories, `ostree/`.

What stays: the newest of the branch's ref, every ref's own, those of images that are kept, and those of runs that go on
or ended lately, so that such a run can be cleared at any of its stages. Refs that are not the pipeline's keep all their
history.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ci_pipeline import store
from ci_pipeline.retention.folder import Folder
from ci_pipeline.retention.images import images_that_go
from ci_pipeline.retention.ostree import KEPT, Repository
from ci_pipeline.retention.sweep import Sweep
from ci_pipeline.store import kept

_NUMBER: Final = re.compile(r"\d{1,18}")
# playbooks/library/promote_commit.py holds it while it moves the ref and writes the summary.
_PROMOTION_LOCK: Final = ".last-good.lock"


def sweep(pass_: Sweep) -> None:
    """Prune the repository of every branch."""
    for branch in pass_.branches.folders():
        with pass_.tolerating():
            folder = pass_.branches.inside(branch.name)
            repository = Repository(folder.inside("ostree"))
            if repository.exists():
                with _no_promotion(folder.inside("repo")) as free:
                    if free:
                        _sweep_branch(pass_, branch.name, repository)


@contextmanager
def _no_promotion(repo: Folder) -> Iterator[bool]:
    """Keep promotions of the branch waiting; yields false when one is at work: then the next pass will do."""
    if not any(entry.name == _PROMOTION_LOCK for entry in repo.entries()):
        yield True  # nothing was ever promoted
        return
    descriptor = os.open(repo.path / _PROMOTION_LOCK, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _sweep_branch(pass_: Sweep, branch: str, repository: Repository) -> None:
    refs = {ref: checksum for ref, (checksum, _) in repository.refs().items()}
    forgotten = _forgotten(pass_, branch, repository)
    held = {checksum for ref, checksum in refs.items() if ref not in forgotten and not ref.startswith(KEPT)}
    there = repository.commits()
    needed = _needed(pass_, branch, repository, refs) & there
    stay = (held & there) | needed
    # Those of a pass that was cut short, too.
    stale = [*forgotten, *(ref for ref in refs if ref.startswith(KEPT))]
    if not stale and stay == there:
        return
    if pass_.dry_run:
        freed = repository.would_free(stay)
    else:
        repository.delete_refs(stale)
        freed = repository.prune(needed)
        repository.write_summary()
    for ref in forgotten:
        pass_.removed("commit", f"{repository.path} {ref}")
    if gone := len(there - stay):
        pass_.removed("commit", f"{repository.path}: {gone} commits", freed)


def _forgotten(pass_: Sweep, branch: str, repository: Repository) -> list[str]:
    """Return the candidates' refs of runs that ended long ago, and old ones of runs that nobody knows any more."""
    prefix = f"candidate/{branch}/"
    found = []
    for ref, (_, when) in sorted(repository.refs().items()):
        number = ref.removeprefix(prefix)
        if number == ref or not _NUMBER.fullmatch(number):
            continue
        with store.session() as session:
            run = kept.by_number(session, branch, int(number))
        if when < pass_.before if run is None else kept.is_due(run, pass_.before):
            found.append(ref)
    return found


def _needed(pass_: Sweep, branch: str, repository: Repository, refs: dict[str, str]) -> set[str]:
    """Return the commits that stay besides the refs' own."""
    ref = pass_.settings.ref_of(branch)
    needed = set(repository.history(ref)[: pass_.settings.retention.commits]) if ref in refs else set()
    for other in refs:
        if other != ref and not other.startswith(("candidate/", KEPT)):
            needed |= set(repository.history(other))
    gone = {image.id for image in images_that_go(pass_, branch)}
    with store.session() as session:
        needed |= kept.composes(session, branch, pass_.before)
        needed |= {image.compose_rev for image, _ in kept.images_there(session, branch) if image.id not in gone}
    return needed
