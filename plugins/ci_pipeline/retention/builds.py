"""The runs' own package repositories, `repo/builds/<run>/`, and what publications that were cut short left."""

import re
from pathlib import PurePosixPath
from typing import Final

from ci_pipeline import store
from ci_pipeline.retention.folder import Folder
from ci_pipeline.retention.sweep import Sweep
from ci_pipeline.store import kept, runs

_UNFINISHED: Final = re.compile(r"\.(?P<run>.+)\.(new|old)")
# The scratch names of a package's link, and of the branch's package set and its link.
_SCRATCH: Final = re.compile(r"\..+_repo\..+\.new|\.last-good\..+")


def sweep(pass_: Sweep) -> None:
    """Remove the repositories of runs that ended long ago, but for the newest of every package and those linked to."""
    for branch in pass_.branches.folders():
        with pass_.tolerating():
            repo = pass_.branches.inside(branch.name, "repo")
            _sweep_builds(pass_, branch.name, repo)
            _sweep_unfinished(pass_, branch.name, repo.inside("builds"))
            scratch = [entry for entry in repo.entries() if entry.is_folder or entry.is_link]
            pass_.remove_leftovers(repo, [entry for entry in scratch if _SCRATCH.fullmatch(entry.name)])


def _sweep_builds(pass_: Sweep, branch: str, repo: Folder) -> None:
    builds, dag = repo.inside("builds"), runs.dag_id_of(branch)
    found = [entry for entry in builds.folders() if not entry.name.startswith(".")]
    stay = _linked(repo) | _newest(pass_, branch, [entry.name for entry in found])
    for entry in found:
        if entry.name in stay:
            continue
        with pass_.may_go(dag, entry.name, entry.modified) as may_go:
            if may_go:
                pass_.remove("build", builds, entry.name)


def _linked(repo: Folder) -> set[str]:
    """Return the builds that a symlink beside them points to."""
    return {PurePosixPath(repo.target_of(entry.name)).name for entry in repo.entries() if entry.is_link}


def _newest(pass_: Sweep, branch: str, builds: list[str]) -> set[str]:
    with store.session() as session:
        return kept.newest_builds(session, branch, builds, count=pass_.settings.retention.builds)


def _sweep_unfinished(pass_: Sweep, branch: str, builds: Folder) -> None:
    for entry in builds.folders():
        unfinished = _UNFINISHED.fullmatch(entry.name)
        if unfinished is None:
            continue
        with store.session() as session:
            run = kept.held(session, runs.dag_id_of(branch), unfinished["run"])
            if run is None or run.status is not None:
                pass_.remove_leftovers(builds, [entry])
