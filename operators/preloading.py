"""Has Airflow's components load what every task needs: a task is forked from its worker, and finds it there.

What a task would load by itself takes it a fifth of a second, in each of a run's.
"""

from __future__ import annotations

from airflow.listeners import hookimpl
from fedora_messaging.message import get_name

from ci_pipeline.bus.schemas import CompleteV1
from operators import complete, deliver, reconcile, retention, tear_down_cluster

# The operators of the DAGs, beside those that have links.
OPERATORS = (complete, deliver, reconcile, retention, tear_down_cluster)


@hookimpl
def on_starting() -> None:
    """Airflow calls this before a component works. Who makes a message looks for its class in all that is installed."""
    get_name(CompleteV1)
