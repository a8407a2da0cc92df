"""Closes, every half minute, the gaps that Airflow's callbacks leave."""

from datetime import timedelta

from airflow.sdk import DAG

from ci_pipeline import settings
from operators.reconcile import ReconcileOperator

TRIAGE = """
### Says what could not be said

Marking a task or a run in the UI, a run's time limit, a killed worker: Airflow calls no callback for these. This DAG
compares ended runs and tasks with the journal, closes what is open (ABORTED when someone or a limit ended it, FAILURE
when its process died), publishes what waits, and starts queued changes that have no run. On a healthy system it does
nothing; what it mended is in its log and its XCom.

**Red: what now?** Its log says who does not answer: Airflow's API, the database or the bus. Nothing is lost; the next
run tries again. `ci-pipeline reconcile` does the same by hand.
"""

with DAG(
    "ci-pipeline-reconciler",
    description="Closes the gaps that Airflow's callbacks leave",
    schedule=timedelta(seconds=settings.current().reconciler.interval_seconds),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=10),
    doc_md=TRIAGE,
    tags=["ci-pipeline", "reconciler"],
) as dag:
    ReconcileOperator(task_id="reconcile", retries=0)
