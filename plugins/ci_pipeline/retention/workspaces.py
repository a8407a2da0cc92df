"""Workspaces of runs: `<state>/runs/<dag>/<run>/`."""

from ci_pipeline.retention.folder import Folder
from ci_pipeline.retention.sweep import Sweep


def sweep(pass_: Sweep) -> None:
    """Remove the workspaces of runs that ended long ago, and old ones of runs that nobody knows any more."""
    for dag in (root := Folder(pass_.settings.state / "runs")).folders():
        folder = root.inside(dag.name)
        with pass_.tolerating():
            for run in folder.folders():
                with pass_.may_go(dag.name, run.name, run.modified) as may_go:
                    if may_go:
                        pass_.remove("workspace", folder, run.name)
