"""The end of a run: whatever happened, it is summed up and said once."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from ci_pipeline import notes, publishing, reconcile, settings, store
from ci_pipeline.errors import AirflowApiError, CiPipelineError
from ci_pipeline.journal import Journal
from ci_pipeline.manifests import writing
from ci_pipeline.store import runs
from operators import callbacks, metrics

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy.orm import Session

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
            retries=5,
            retry_delay=timedelta(seconds=20),
            on_success_callback=callbacks.announce_end,
            on_failure_callback=callbacks.announce_end,
            on_skipped_callback=callbacks.announce_end,
            **kwargs,
        )

    def execute(self, context: Context) -> None:
        """Sum the run up."""
        dag_run = context["dag_run"]
        run = store.transact(partial(runs.find, dag_id=dag_run.dag_id, run_id=dag_run.run_id))
        if run is None:
            msg = "this run never named a change: there is nothing to complete"
            raise AirflowSkipException(msg)
        reason = self._explain(run)
        ended = store.transact(partial(_sum_up, row=run.id, reason=reason))
        metrics.send_run(ended)
        self.log.info("%s %s: %s", runs.change_of(ended), ended.status, ended.reason or "all good")
        self._deliver()
        # Not only when the task has ended: who waits for the message does not wait for the note.
        publishing.publish_or_leave(settings.current(), runs=[ended.id])
        notes.write(settings.current(), run.id)

    def _deliver(self) -> None:
        """Write what goes with a validated image. What cannot be written now is the reconciler's to write."""
        try:
            for run, what in writing.deliver(settings.current()):
                self.log.info("%s: %s", run, what)
        except CiPipelineError as error:
            self.log.warning("what goes with a validated image is left to the reconciler: %s", error)

    def _explain(self, run: Run) -> str:
        """Ask Airflow what ended a stage that has not said so itself, and who; unanswered, it was ended by someone."""
        try:
            reconcile.close_lost_tries(settings.current(), run)
            return reconcile.why_aborted(settings.current(), run)
        except AirflowApiError as error:
            self.log.warning("why a stage ended is not known: %s", error)
            return ""


def _sum_up(session: Session, row: int, reason: str) -> Run:
    run = runs.locked(session, row)
    Journal(session, settings.current()).finish_run(run, reason=reason)
    return run
