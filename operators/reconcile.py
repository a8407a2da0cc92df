"""Close the gaps that Airflow's callbacks leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator

from ci_pipeline import measures, orphan_builds, reconcile, settings, store
from operators import metrics
from operators.jenkins_connection import connector

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReconcileOperator(BaseOperator):
    """Compares what Airflow knows with the journal and writes down, and publishes, what is missing."""

    ui_color = "#f1f3f4"

    def execute(self, context: Context) -> list[str]:
        """Mend, and send how things are; the sentences of what was mended are the task's XCom."""
        configured = settings.current()
        mended = reconcile.reconcile(configured)
        aborted = orphan_builds.end_all(configured, connector(configured))
        mended += [reconcile.Mended(run, what) for run, what in aborted]
        metrics.send_mended(len(mended))
        with store.session() as session:
            metrics.send_gauges(measures.of_everything(session, [sink.name for sink in configured.sinks]))
        return [f"{one.run}: {one.what}" for one in mended]
