"""Compose the branch's last good packages and the candidate into an OSTree commit."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from ci_pipeline import store
from ci_pipeline.stages import COMPOSE_OSTREE
from ci_pipeline.store import leases
from operators.run_of import run_of
from operators.stage import StageOperator
from sensors.compose_lease_trigger import ComposeLeaseTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy.orm import Session

    from ci_pipeline.store.tables import Run


class ComposeOstreeOperator(StageOperator):
    """Commits the tree as a candidate; the branch's ref does not move here.

    One run at a time is between its compose and the end of its integration tests on a branch; others wait, deferred,
    and hold no worker slot. A backfill takes its turn for the compose alone: it is made of the branch as it stands
    between two promotions, and never promoted itself.
    """

    stage = COMPOSE_OSTREE
    ui_color = "#e8eaf6"

    def begin(self, session: Session, context: Context) -> Run:
        """Begin only once the branch's compose lease is ours."""
        run = run_of(session, context)
        if leases.acquire(session, branch=run.branch, run=run.id) is None:
            return super().begin(session, context)
        return run

    def wait_for_turn(self, context: Context) -> None:
        """Wait for the lease."""
        run, holder = store.transact(partial(_ask_for_lease, context=context))
        if holder is not None:
            self.log.info("waiting for run %s, which is between its compose and its integration tests", holder.run_id)
            trigger = ComposeLeaseTrigger(branch=run.branch, run=run.id)
            self.defer(trigger=trigger, method_name="execute", timeout=timedelta(hours=12))


def _ask_for_lease(session: Session, context: Context) -> tuple[Run, Run | None]:
    """Return the run, and who holds the lease if not the run itself."""
    run = run_of(session, context)
    return run, leases.acquire(session, branch=run.branch, run=run.id)
