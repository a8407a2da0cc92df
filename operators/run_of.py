"""From an Airflow context to the run it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

from ci_pipeline.change import Change
from ci_pipeline.errors import ChangeError
from ci_pipeline.store import runs

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy.orm import Session

    from ci_pipeline.store.tables import Run

_DAG_PREFIX = "ci-pipeline-"


def run_of(session: Session, context: Context) -> Run:
    """Return the run of a DAG run; one that was triggered by hand gets its row and number here.

    Raises:
        AirflowFailException: the conf does not name a change; the text says what is wrong with it.
    """
    dag_run = context["dag_run"]
    return runs.find(session, dag_run.dag_id, dag_run.run_id) or _adopt(session, context)


def _adopt(session: Session, context: Context) -> Run:
    dag_run, params = context["dag_run"], context["params"]
    if unknown := sorted(set(dag_run.conf or {}) - set(params)):
        msg = f"unknown keys in conf: {', '.join(unknown)}; allowed: {', '.join(sorted(params))}"
        raise AirflowFailException(msg)
    branch = dag_run.dag_id.removeprefix(_DAG_PREFIX)
    try:
        change = Change.parse(
            namespace=params["namespace"],
            repo=params["repo"],
            rev=params["rev"],
            branch=branch,
        )
    except ChangeError as error:
        msg = f"the conf of this run does not name a change: {error}"
        raise AirflowFailException(msg) from error
    return runs.create(session, change, run_id=dag_run.run_id, test_guidance=params["test_guidance"])
