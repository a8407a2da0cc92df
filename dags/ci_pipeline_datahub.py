"""Delivers results to the datahubs downstream; there is none of it where no sinks are configured."""

from datetime import timedelta

from airflow.sdk import DAG

from ci_pipeline import settings
from operators.deliver import DeliverOperator

TRIAGE = """
### Feeds the datahubs downstream

What happens in a run is stored for every sink under `[[sinks]]` in pipeline.toml, and this DAG delivers it: a task per
sink. No stage waits for it. What a sink does not take now waits, in order, and is tried again after 10 s, then after
twice as long, at most 10 minutes; what it refuses is parked.

**Red: what now?** The sink did not take something that was due; the last line of the log has its answer. Nothing is
lost and nobody else is held up. Is the sink up, is its address right, is the account still good? `ci-pipeline status`
shows what waits for each sink and since when, `ci-pipeline dead list` what was parked; `ci-pipeline deliver SINK` tries
at once.
"""

if settings.current().sinks:
    with DAG(
        "ci-pipeline-datahub",
        description="Delivers results to the datahubs downstream",
        schedule=timedelta(seconds=settings.current().delivery.interval_seconds),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=30),
        doc_md=TRIAGE,
        tags=["ci-pipeline", "datahub"],
    ) as dag:
        for sink in settings.current().sinks:
            DeliverOperator(task_id=sink.name, sink=sink.name, retries=0, execution_timeout=timedelta(minutes=15))
