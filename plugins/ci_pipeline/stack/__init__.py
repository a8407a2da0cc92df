"""The local stack: PostgreSQL, RabbitMQ, an artifacts server and Airflow, private to one state folder."""

from ci_pipeline.stack.airflow import Pool
from ci_pipeline.stack.command import become_airflow
from ci_pipeline.stack.components import AIRFLOW, ALL, SERVERS
from ci_pipeline.stack.start import UpResult, up
from ci_pipeline.stack.status import ComponentStatus, StackStatus, status
from ci_pipeline.stack.stop import DownResult, down

__all__ = [
    "AIRFLOW",
    "ALL",
    "SERVERS",
    "ComponentStatus",
    "DownResult",
    "Pool",
    "StackStatus",
    "UpResult",
    "become_airflow",
    "down",
    "status",
    "up",
]
