"""The timetable of the branches' DAGs, with Airflow's own classes."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.api_fastapi.core_api.datamodels.dag_run import TriggerDAGRunPostBody
from airflow.exceptions import InvalidPartitionKeyError
from airflow.models.backfill import InvalidBackfillDateRange
from airflow.plugins_manager import get_timetables_plugins
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction
from airflow.utils.types import DagRunType
from hypothesis import given
from hypothesis import strategies as st
from pendulum import DateTime

from ci_pipeline import store
from ci_pipeline.store import revisions
from operators import revision_timetable
from operators.revision_timetable import RevisionTimetable
from tests.dags.test_dags import load
from tests.makers import REV, change

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
KEY = f"rpms/greeter@{REV}"
TIMETABLE = RevisionTimetable(branch="f26")
HOSTILE = [
    "",
    "@",
    REV,
    f"greeter@{REV}",
    f"rpms/greeter@{REV}\n",
    f"rpms/greeter@{REV[:39]}",
    f"rpms/greeter@{REV.upper()}",
    f"../greeter@{REV}",
    f"rpms/..@{REV}",
    f"rpms/$(id)@{REV}",
    f"rpms/a;b@{REV}",
    f"rpms/a\x00@{REV}",
    f"rpms/{'x' * 500}@{REV}",
    "' OR 1=1 --",
]


@pytest.fixture
def known(database: None) -> None:
    """Three changes of one second, and one of another day and branch."""
    with store.session() as session:
        for one in (change(), change("hostinfo"), change(namespace="modules")):
            revisions.add(session, one, NOON)
        revisions.add(session, change(rev="1" * 40), NOON - timedelta(days=1))
        revisions.add(session, change(branch="rawhide"), NOON)


@pytest.fixture
def dag() -> SerializedDAG:
    """The DAG of f26, as the api-server has it: written to Airflow's database and read back."""
    written = DagSerialization.to_dict(load("branch_pipelines").ci_pipeline_f26)
    return DagSerialization.from_dict(written)


def keys(earliest: datetime, latest: datetime) -> list[str]:
    """Return the partition keys of a range."""
    found = TIMETABLE.iter_partition_dagrun_infos(earliest=earliest, latest=latest)
    return [str(info.partition_key) for info in found]


@pytest.mark.usefixtures("known")
def test_a_range_has_a_run_for_each_revision_of_the_branch() -> None:
    """Those of one second each have a date of their own: Airflow would take them for one."""
    infos = list(TIMETABLE.iter_partition_dagrun_infos(earliest=NOON, latest=NOON))

    assert {info.partition_key for info in infos} == {KEY, f"rpms/hostinfo@{REV}", f"modules/greeter@{REV}"}
    assert len({info.partition_date for info in infos}) == len(infos)
    assert all(info.run_after == info.partition_date and info.data_interval is None for info in infos)


@pytest.mark.usefixtures("known")
def test_both_ends_of_a_range_belong_to_it() -> None:
    """To the second; the oldest revision comes first."""
    day = timedelta(days=1)

    assert keys(NOON - day, NOON)[0] == f"rpms/greeter@{'1' * 40}"
    assert len(keys(NOON - day, NOON)) == 4
    assert len(keys(NOON - timedelta(seconds=1), NOON - timedelta(microseconds=1))) == 0


@pytest.mark.usefixtures("known")
def test_the_date_of_a_key_is_that_of_the_range() -> None:
    """So that what was pushed and has run is not run again by a backfill."""
    infos = TIMETABLE.iter_partition_dagrun_infos(earliest=NOON, latest=NOON)
    dates = {info.partition_key: info.partition_date for info in infos}

    assert TIMETABLE.resolve_partition_date(KEY) == dates[KEY]


@pytest.mark.usefixtures("database")
def test_a_commit_of_the_future_is_not_waited_for() -> None:
    """It claims to be; its date stays what it says."""
    later = datetime.now(UTC) + timedelta(days=30)
    with store.session() as session:
        revisions.add(session, change(), later)
    (info,) = TIMETABLE.iter_partition_dagrun_infos(earliest=NOON, latest=later + timedelta(days=1))

    assert info.run_after <= datetime.now(UTC)
    assert info.partition_date > datetime.now(UTC)


@pytest.mark.usefixtures("known")
def test_too_many_revisions_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow tells the user so with a 422; nothing has been created."""
    monkeypatch.setattr(revision_timetable, "MOST", 2)

    with pytest.raises(InvalidBackfillDateRange, match="more than 2 revisions of f26 are in this range"):
        keys(NOON, NOON)


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("key", HOSTILE)
def test_a_key_that_names_no_change_is_refused(key: str) -> None:
    """Anyone who may trigger a run can send any."""
    with pytest.raises(InvalidPartitionKeyError):
        TIMETABLE.resolve_partition_date(key)


@given(key=st.text(max_size=300))
def test_no_text_breaks_the_reading_of_keys(key: str) -> None:
    """It is a change, or it is refused."""
    with pytest.raises(InvalidPartitionKeyError):
        TIMETABLE._change(key)


@pytest.mark.usefixtures("known")
def test_a_revision_nobody_knows_is_refused_with_what_to_do() -> None:
    """Its run would have no date, and every backfill would run it again."""
    with pytest.raises(InvalidPartitionKeyError, match="1111111 f26 is not a known revision; `ci-pipeline revisions"):
        TIMETABLE.resolve_partition_date(f"rpms/hostinfo@{'1' * 40}")


def test_the_scheduler_starts_nothing() -> None:
    """Neither now nor for the time a DAG was paused."""
    restriction = TimeRestriction(earliest=None, latest=None, catchup=True)

    assert TIMETABLE.next_dagrun_info_v2(last_dagrun_info=None, restriction=restriction) is None
    assert not TIMETABLE.can_be_scheduled
    assert TIMETABLE.periodic


def test_every_try_of_a_revision_has_a_run_id_of_its_own() -> None:
    """It reads as the change, and is one a workspace can be made of."""
    now = DateTime.now("UTC")
    made = [
        TIMETABLE.generate_run_id(
            run_type=DagRunType.BACKFILL_JOB, run_after=now, data_interval=None, partition_key=KEY
        )
        for _ in range(2)
    ]

    assert len(set(made)) == 2
    assert all(one.startswith("backfill__rpms.greeter-35fdde9-f26-") for one in made)


@pytest.mark.usefixtures("known")
def test_airflow_stores_the_timetable_and_reads_it_back(dag: SerializedDAG) -> None:
    """The plugin has registered it; the branch is kept."""
    assert f"{RevisionTimetable.__module__}.RevisionTimetable" in get_timetables_plugins()
    assert dag.timetable.branch == "f26"
    assert len(list(dag.iter_dagrun_infos_between(NOON, NOON))) == 3


@pytest.mark.usefixtures("known")
def test_a_run_by_the_api_has_the_date_of_its_key(dag: SerializedDAG) -> None:
    """As the intake starts what was pushed."""
    body = TriggerDAGRunPostBody(logical_date=None, dag_run_id="x", partition_key=KEY)

    assert body.validate_context(dag)["partition_date"] == TIMETABLE.resolve_partition_date(KEY)


def test_a_backfill_needs_no_conf(dag: SerializedDAG) -> None:
    """Its partition keys name the revisions."""
    dag.params.validate()

    assert SimpleNamespace(**dag.params.dump()).repo is None
