"""Retention: removes what nobody needs any more, so that nothing fills the disk for ever.

What is newest, referenced by something that stays, or of a run that goes on is never removed, whatever the settings
say. One module per kind of thing; each goes on when something of it cannot be removed.
"""

from datetime import UTC, datetime

from ci_pipeline import store
from ci_pipeline.retention import airflow_runs, builds, commits, images, logs, workspaces
from ci_pipeline.retention.sweep import Pruned, Removed, Sweep
from ci_pipeline.settings import Settings
from ci_pipeline.store import kept

__all__ = ["Pruned", "Removed", "prune"]

# The images before the commits: those of images that stay have to stay too.
_PARTS = (workspaces, logs, builds, images, commits, airflow_runs)


def prune(settings: Settings, *, dry_run: bool = False) -> Pruned:
    """Remove what the settings under [retention] no longer keep.

    Args:
        settings: where everything is, and what is kept.
        dry_run: only tell what would be removed.

    Returns:
        What was removed with its size, and a sentence for whatever could not be.
    """
    sweep = Sweep(settings, now=datetime.now(UTC), dry_run=dry_run)
    if not dry_run:
        # First of all: from here on such a run can be cleared from its build only, so nothing misses what goes now.
        with store.session() as session:
            kept.mark_pruned(session, sweep.before)
    for part in _PARTS:
        with sweep.tolerating():
            part.sweep(sweep)
    return sweep.result()
