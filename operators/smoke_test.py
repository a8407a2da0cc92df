"""Boot the generated image and prove that it runs the commit it was made of."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.exceptions import DownstreamTasksSkipped

from ci_pipeline import conformance, store
from ci_pipeline.journal import Journal
from ci_pipeline.stages import PROVISION_HOSTS, SMOKE_TEST, STEPS
from ci_pipeline.store import runs, tries
from operators import tear_down_cluster
from operators.run_of import run_of
from operators.stage import StageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy.orm import Session

# The tasks of the cluster.
_OF_THE_CLUSTER: Final = [*(step.name for step in STEPS[PROVISION_HOSTS.event]), tear_down_cluster.NAME]


class SmokeTestOperator(StageOperator):
    """Boots the image; the checksum of the running deployment must be the compose's. A pass moves `latest`.

    Where there is to be no cluster then, the tasks of one are skipped with it: none has to start to find that out.
    """

    stage = SMOKE_TEST
    ui_color = "#fef7e0"

    def execute(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Carry the stage out, and skip what has nothing to do behind it."""
        super().execute(context, event)
        if store.transact(partial(self._skip_cluster, context=context)):
            raise DownstreamTasksSkipped(tasks=_OF_THE_CLUSTER)

    def _skip_cluster(self, session: Session, context: Context) -> bool:
        """Write down that the run has no cluster, if it has none. One that had to do with a cluster asks for itself."""
        run = runs.locked(session, run_of(session, context).id)
        reason = conformance.skip_reason(session, self.settings, run)
        if not reason or run.status is not None:
            return False
        current = runs.latest_results(session, run.id).get(PROVISION_HOSTS.name)
        if current is not None:
            return current.reason == reason
        if any(row.stage == PROVISION_HOSTS.name for row in runs.newest_tries(session, run.id)):
            return False
        Journal(session, self.settings).skip_stage(run, PROVISION_HOSTS, tries.NEVER_TRIED, reason)
        return True
