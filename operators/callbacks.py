"""Callbacks: they say on the bus what the journal holds, and close what an operator could not.

Airflow calls them at most once, and not in order with the next task; that is why the journal holds the order and the
operators write it before they return. A callback that does nothing loses nothing: the next one publishes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from ci_pipeline import notes, publishing, settings, store
from ci_pipeline.errors import StoreError
from ci_pipeline.executors.report import infrastructure_failure
from ci_pipeline.journal import Journal
from ci_pipeline.store import runs
from operators.run_of import find_run, run_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from operators.stage import StageOperator


def announce_start(context: Context) -> None:
    """Write down that the stage begins, and publish it.

    Of a run that was triggered by hand nothing is known yet; its first stage calls this when it is.
    """
    operator = cast("StageOperator", context["task"])
    with store.session() as session:
        if find_run(session, context) is None:
            return
        again = run_of(session, context).status is not None
        run = operator.begin(session, context)
    if again and run.status is None:
        notes.write_change(settings.current(), run)
    publishing.publish_or_leave(settings.current(), runs=[run.id])


def announce_end(context: Context) -> None:
    """Publish what the operator wrote down before it returned."""
    dag_run = context["dag_run"]
    with store.session() as session:
        run = runs.find(session, dag_run.dag_id, dag_run.run_id)
    if run is not None:
        publishing.publish_or_leave(settings.current(), runs=[run.id])


def announce_failure(context: Context) -> None:
    """Close a try whose operator ended before it could write its end down, and publish."""
    _close_if_open(context, final=True)
    announce_end(context)


def announce_retry(context: Context) -> None:
    """As `announce_failure`, for a try that another one follows."""
    _close_if_open(context, final=False)
    announce_end(context)


def _close_if_open(context: Context, *, final: bool) -> None:
    stage = getattr(context["task"], "stage", None)
    dag_run, ti = context["dag_run"], context["ti"]
    report = infrastructure_failure(f"the task ended in an error: {context.get('exception') or 'unknown'}")
    with store.session() as session:
        run = runs.find(session, dag_run.dag_id, dag_run.run_id)
        if run is None or stage is None:
            return
        try:
            Journal(session, settings.current()).finish_stage(run, stage, ti.try_number, report, final=final)
        except StoreError:
            # The operator has written the end of this try itself: the usual case.
            session.rollback()


ANNOUNCING: Final[dict[str, Any]] = {
    "on_execute_callback": announce_start,
    "on_success_callback": announce_end,
    "on_skipped_callback": announce_end,
    "on_failure_callback": announce_failure,
    "on_retry_callback": announce_retry,
}
