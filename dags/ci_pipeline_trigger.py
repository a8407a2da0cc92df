"""Listens to the bus and fires the pipeline of a change's branch. Always running."""

from airflow.sdk import DAG

from sensors.git_receive import GitReceiveSensor

TRIAGE = """
### Listens for pushes to dist-git

One run is always *deferred*: that is the listening, done in the triggerer. Every message becomes one row of the
ledger with a decision (`queued`, `ignored`, `duplicate`, `dead`) and a reason, is announced, and a queued
change gets one run of its branch's DAG. Once an hour the run ends and the next one takes over.

**Red, or not running: what now?** Nothing is lost: messages wait in the broker's queue, decided changes in the
ledger. Look at the log of the run: it says whether the broker, the database or Airflow's API is away. Make sure that
the triggerer runs and this DAG is not paused; the next run starts by itself.
"""

with DAG(
    "ci-pipeline-trigger",
    description="Listens to the bus and fires a run for every change that is pushed",
    schedule="@continuous",
    catchup=False,
    max_active_runs=1,
    doc_md=TRIAGE,
    tags=["ci-pipeline", "intake"],
) as dag:
    GitReceiveSensor(task_id="listen", retries=0)
