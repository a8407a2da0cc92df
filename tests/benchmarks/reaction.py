"""How soon the idle pipeline reacts to a push, beside what broker and Airflow take for as much."""

import contextlib
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import httpx
import pika

from ci_pipeline.settings import Settings
from tests.benchmarks.live import Live
from tests.benchmarks.measuring import Book, Row
from tests.e2e.conftest import token_of

# A DAG that finds nothing to do here. It is none of a branch, so nothing else is begun with it.
_DAG: Final = "ci-pipeline-retention"
_TASK: Final = "prune"
_LOOK_SECONDS: Final = 0.05
_LONGEST_SECONDS: Final = 120.0


def measure(book: Book, stack: Live, *, pushes: int) -> None:
    """Time pushes, each when the run of the one before has ended; between them the yardsticks."""
    queued, started, echoed, begun = [], [], [], []
    with _airflow(stack.settings) as airflow:
        for number in range(pushes):
            pushed = stack.push_broken(str(number))
            queued.append(stack.seconds_to("package.queued", pushed))
            started.append(stack.seconds_to("package.running", pushed))
            stack.seconds_to("complete", pushed)
            echoed.append(_echo(stack.settings.bus.url.get_secret_value()))
            begun.append(_begin_a_task(airflow))
    book.rows.append(
        Row("push to package.queued", "a message through the same broker to a client", "s", queued, echoed)
    )
    other = "a DAG run made by Airflow's API to the start of its task"
    book.rows.append(Row("push to package.running: the build has begun", other, "s", started, begun))


def _echo(url: str) -> float:
    """Return the seconds a message takes from a publisher to a consumer."""
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, "amq.topic", "an.echo")
        heard = channel.consume(queue, auto_ack=True, inactivity_timeout=_LONGEST_SECONDS)
        began = time.monotonic()
        channel.basic_publish("amq.topic", "an.echo", b"{}", pika.BasicProperties(delivery_mode=2))
        next(heard)
        return time.monotonic() - began


@contextlib.contextmanager
def _airflow(settings: Settings) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=settings.airflow.url, trust_env=False, timeout=60) as client:
        client.headers["Authorization"] = f"Bearer {token_of(client, settings)}"
        yield client


def _begin_a_task(airflow: httpx.Client) -> float:
    """Return the seconds from asking for a DAG run to the start of its task, and wait for its end."""
    run_id, began = f"bench-{uuid.uuid4()}", time.time()
    runs = f"/api/v2/dags/{_DAG}/dagRuns"
    airflow.post(runs, json={"dag_run_id": run_id, "logical_date": None}).raise_for_status()
    while time.time() < began + _LONGEST_SECONDS:
        task = airflow.get(f"{runs}/{run_id}/taskInstances/{_TASK}").json()
        if task.get("end_date"):
            return datetime.fromisoformat(task["start_date"]).timestamp() - began
        time.sleep(_LOOK_SECONDS)
    raise AssertionError(f"{_DAG} {run_id} did not end within {_LONGEST_SECONDS:.0f} s")
