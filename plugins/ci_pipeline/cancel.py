"""Cancelling a run."""

from ci_pipeline import publishing, store
from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.errors import StoreError
from ci_pipeline.journal import Journal
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs


def cancel(settings: Settings, run_id: str) -> tuple[str, str]:
    """End a run.

    Args:
        settings: where Airflow is.
        run_id: a run id, or `<branch>/<number>`.

    Returns:
        The run id, and a sentence that says what happens now.

    Raises:
        StoreError: there is no such run, or it has ended.
        AirflowApiError: Airflow does not take it.
    """
    with store.session() as session:
        run = runs.locked(session, runs.get(session, run_id).id)
        if run.status is not None:
            msg = f"run {run.run_id} has ended already: {run.status}"
            raise StoreError(msg)
        if run.fired_at is None:
            Journal(session, settings).end_before_start(run, "cancelled before it began")
    if run.fired_at is None:
        publishing.publish_or_leave(settings, runs=[run.id])
        return run.run_id, "it had not begun, and will not"
    with AirflowApi(settings.airflow) as airflow:
        airflow.fail_run(run.dag_id, run.run_id)
    return run.run_id, "its tasks are being ended; `complete` says ABORTED when they are"
