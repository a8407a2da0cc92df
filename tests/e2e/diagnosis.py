"""What a person would look at first when a test of the whole pipeline has failed, for the test's report."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import select
from typer.testing import CliRunner

from ci_pipeline import store
from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.cli.app import app
from ci_pipeline.errors import CiPipelineError
from ci_pipeline.settings import Settings
from ci_pipeline.stack.handle import locate
from ci_pipeline.store.tables import Run, StageResult

_RUNS = 8
_LINES = 25


def diagnose(pipeline: Settings) -> str:
    """Return the pipeline's status, its newest runs with every try, and the end of every component's log."""
    return "\n".join([CliRunner().invoke(app, ["status"]).output, *_runs(pipeline), *_logs(pipeline)])


def _runs(pipeline: Settings) -> Iterator[str]:
    yield f"now: {datetime.now(UTC):%H:%M:%S} UTC"
    with contextlib.suppress(CiPipelineError), store.session() as session, AirflowApi(pipeline.airflow) as airflow:
        for run in session.scalars(select(Run).order_by(Run.id.desc()).limit(_RUNS)):
            yield f"{run.run_id}: {run.status or 'goes on'}; {run.reason}"
            yield from map(_told, sorted(run.results, key=lambda result: result.id))
            if run.status is None:
                yield f"  Airflow: {airflow.run_state(run.dag_id, run.run_id)}"
                yield f"  {airflow.task_states(run.dag_id, run.run_id)}"


def _told(result: StageResult) -> str:
    until = f"{result.ended_at:%H:%M:%S}" if result.ended_at else "now"
    how = f"{result.status} {result.fault or ''}: {result.reason}"
    return f"  {result.stage} {result.try_number}, {result.started_at:%H:%M:%S} to {until}: {how}"


def _logs(pipeline: Settings) -> Iterator[str]:
    for log in sorted(locate(pipeline.state).logs.glob("*.log")):
        yield f"-- {log.name}"
        yield from log.read_text(errors="replace").splitlines()[-_LINES:]
