"""Compose the branch's last good packages and the candidate into an OSTree commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ci_pipeline.stages import COMPOSE_OSTREE
from ci_pipeline.store import leases
from operators.leased import LeasedStageOperator

if TYPE_CHECKING:
    from ci_pipeline.store.tables import Run


class ComposeOstreeOperator(LeasedStageOperator):
    """Commits the tree as a candidate; the branch's ref does not move here.

    One run at a time is between its compose and the end of its integration tests on a branch; others wait, deferred,
    and hold no worker slot. A backfill takes its turn for the compose alone: it is made of the branch as it stands
    between two promotions, and never promoted itself.
    """

    stage = COMPOSE_OSTREE
    ui_color = "#e8eaf6"

    def lease_of(self, run: Run) -> str:
        """Return the branch's compose lease."""
        return leases.compose_of(run.branch)
