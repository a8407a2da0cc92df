"""Removes, every hour, what is no longer kept."""

from datetime import timedelta

from airflow.sdk import DAG

from operators.retention import RetentionOperator

TRIAGE = """
### Keeps the disk from filling

Workspaces and logs of runs that ended long ago, their builds and commits, images but the newest good ones, and
Airflow's own runs of the DAGs that are not of a branch. How long is set under `[retention]` in pipeline.toml.
What is newest, referenced or of a run that goes on always stays. What was removed is in the log, with sizes; a warning
there names what could not be.

**Red: what now?** Its log says what does not answer: mostly the database. Nothing is lost, the next run tries again.
`ci-pipeline prune --dry-run` shows what would go, `ci-pipeline prune` does the same by hand.
"""

with DAG(
    "ci-pipeline-retention",
    description="Removes what is no longer kept",
    schedule=timedelta(hours=1),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    doc_md=TRIAGE,
    tags=["ci-pipeline", "retention"],
) as dag:
    RetentionOperator(task_id="prune", retries=0)
