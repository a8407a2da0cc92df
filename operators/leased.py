"""A stage that one run at a time may be at: it begins when its lease is held, and waits for it without a worker."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from ci_pipeline import store
from ci_pipeline.store import leases
from operators.run_of import run_of
from operators.stage import StageOperator
from sensors.lease_trigger import LeaseTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy.orm import Session

    from ci_pipeline.store.tables import Run


class LeasedStageOperator(StageOperator):
    """Takes a lease before it begins; whoever ends what the lease is for gives it back."""

    def lease_of(self, run: Run) -> str:
        """Return the name of the lease."""
        raise NotImplementedError

    def begin(self, session: Session, context: Context) -> Run:
        """Begin only once the lease is ours."""
        run, holder = self._ask(session, context)
        return run if holder else super().begin(session, context)

    def wait_for_turn(self, context: Context) -> None:
        """Wait for the lease."""
        run, holder = store.transact(partial(self._ask, context=context))
        if holder is not None:
            name = self.lease_of(run)
            self.log.info("waiting for run %s, which holds the lease %r, or comes first", holder.run_id, name)
            trigger = LeaseTrigger(name=name, run=run.id)
            self.defer(trigger=trigger, method_name="execute", timeout=timedelta(hours=12))

    def _ask(self, session: Session, context: Context) -> tuple[Run, Run | None]:
        """Return the run, and whom it waits for, if it may not begin. A stage with nothing to do needs no lease."""
        run = run_of(session, context)
        if self.skip_reason(session, run, context):
            return run, None
        return run, leases.acquire(session, name=self.lease_of(run), run=run.id)
