"""Whose task goes first where slots are short, decided by Airflow's own scheduler in a database of its own."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from airflow import settings as airflow_settings
from airflow.executors.base_executor import BaseExecutor
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models import DagModel, DagRun, Pool, TaskInstance
from airflow.models.base import Base
from airflow.models.dagbundle import DagBundleModel
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import clear_task_instances
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.utils.db import synchronize_log_template
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tests.dags.test_dags import load

DAG_ID = "ci-pipeline-f26"


@pytest.fixture(scope="module")
def engine() -> Iterator[None]:
    """Airflow's tables, in a file of the test's own, and the branch's DAG in them."""
    Base.metadata.create_all(airflow_settings.engine)
    dag = load("branch_pipelines").ci_pipeline_f26
    with airflow_settings.Session() as session:
        session.add(DagBundleModel(name="dags"))
        session.flush()
        SerializedDAG.bulk_write_to_db("dags", None, [dag], session=session)
        SerializedDagModel.write_dag(LazyDeserializedDAG.from_dag(dag), bundle_name="dags", session=session)
        synchronize_log_template(session=session)
        session.add(Pool(pool="default_pool", slots=1, description="", include_deferred=False))
        session.get(DagModel, DAG_ID).is_paused = False
        session.commit()
    yield
    airflow_settings.Session.remove()
    Base.metadata.drop_all(airflow_settings.engine)


@pytest.fixture
def session(engine: None) -> Iterator[Session]:
    """A session of Airflow's; the runs a test makes are gone afterwards."""
    with airflow_settings.Session() as opened:
        yield opened
        opened.rollback()
        for run in opened.scalars(select(DagRun)):
            opened.delete(run)
        opened.commit()


def fire(session: Session, run_id: str, *, minutes_ago: int) -> None:
    """Make a run as the api-server does, with a first task that may begin; then let it have been so long ago."""
    dag = SerializedDagModel.get_dag(DAG_ID, session=session)
    run = dag.create_dagrun(
        run_id=run_id,
        run_after=datetime.now(UTC),
        run_type=DagRunType.from_run_id(run_id),
        triggered_by=DagRunTriggeredByType.REST_API,
        state=DagRunState.RUNNING,
        session=session,
    )
    task = run.get_task_instance("build_package", session=session)
    task.priority_weight += 60 * minutes_ago
    task.state = TaskInstanceState.SCHEDULED
    session.commit()


def begin_one(session: Session) -> str:
    """Let the scheduler fill the one slot there is; return whose task goes, which is over at once."""
    scheduler = SchedulerJobRunner(Job(), executors=[_OneSlot(parallelism=1)])
    (chosen,) = scheduler._executable_task_instances_to_queued(max_tis=8, session=session)
    begun = update(TaskInstance).where(TaskInstance.state == TaskInstanceState.QUEUED)
    session.execute(begun.values(state=TaskInstanceState.SUCCESS))
    session.commit()
    return str(chosen.run_id)


class _OneSlot(BaseExecutor):
    """Begins nothing."""


def test_a_live_change_passes_a_storm_and_a_backfill(session: Session) -> None:
    """Whoever was there first; those of one kind go as they came."""
    for minutes, run_id in enumerate(("e-5", "d-4", "c-3-storm", "b-2-storm", "backfill__a", "a-1-backfill")):
        fire(session, run_id, minutes_ago=minutes)

    assert [begin_one(session) for _ in range(6)] == [
        "d-4",
        "e-5",
        "b-2-storm",
        "c-3-storm",
        "a-1-backfill",
        "backfill__a",
    ]


def test_nobody_waits_for_ever(session: Session) -> None:
    """What waits for more than an hour behind live changes goes before newer ones."""
    fire(session, "rpms.a-1111111-f26-1-storm", minutes_ago=61)
    fire(session, "rpms.b-2222222-f26-2", minutes_ago=0)

    assert begin_one(session) == "rpms.a-1111111-f26-1-storm"


def test_a_task_that_is_cleared_waits_behind_again(session: Session) -> None:
    """Airflow asks anew then, and tells the run."""
    fire(session, "rpms.a-1111111-f26-1-storm", minutes_ago=0)
    fire(session, "rpms.b-2222222-f26-2", minutes_ago=0)
    tasks = session.scalars(select(TaskInstance).where(TaskInstance.task_id == "build_package")).all()
    clear_task_instances(list(tasks), session)
    weights = {task.run_id: task.priority_weight for task in tasks}

    assert weights["rpms.a-1111111-f26-1-storm"] < weights["rpms.b-2222222-f26-2"] - 3000
