"""The end of a run: whatever happened, it is summed up and said once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from ci_pipeline import reconcile, settings, store
from ci_pipeline.errors import AirflowApiError
from ci_pipeline.journal import Journal
from ci_pipeline.store import runs
from operators import callbacks

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ci_pipeline.store.tables import Run


class CompleteOperator(BaseOperator):
    """Closes what is still open in a run's journal and says its `complete`.

    It is a teardown: it runs however the stages ended, also when the run is marked failed, and it does not colour
    the run, which is as red as its stages.
    """

    ui_color = "#f1f3f4"

    def __init__(self, **kwargs: Any) -> None:
        """Make the task a teardown that announces its end."""
        super().__init__(
            task_id="complete",
            retries=3,
            on_success_callback=callbacks.announce_end,
            on_failure_callback=callbacks.announce_end,
            on_skipped_callback=callbacks.announce_end,
            **kwargs,
        )

    def execute(self, context: Context) -> None:
        """Sum the run up."""
        dag_run = context["dag_run"]
        with store.session() as session:
            run = runs.find(session, dag_run.dag_id, dag_run.run_id)
        if run is None:
            msg = "this run never named a change: there is nothing to complete"
            raise AirflowSkipException(msg)
        self._explain_lost_tries(run)
        with store.session() as session:
            run = runs.locked(session, run.id)
            status = Journal(session, settings.current()).finish_run(run)
        self.log.info("%s %s: %s", runs.change_of(run), status, run.reason or "all good")

    def _explain_lost_tries(self, run: Run) -> None:
        """Ask Airflow what ended a stage that has not said so itself; unanswered, it reads as ended by someone."""
        try:
            reconcile.close_lost_tries(settings.current(), run)
        except AirflowApiError as error:
            self.log.warning("why a stage ended is not known: %s", error)
