"""Airflow's runs of the DAGs that are not of a branch."""

import pytest

from ci_pipeline.journal import RECONCILER_NAME, RETENTION_NAME, TRIGGER_NAME
from tests.retention.conftest import FakeAirflow, Place, age, old_run, write

pytestmark = pytest.mark.usefixtures("database")


def logs_of(place: Place, dag: str, run: str, *, hours: float) -> None:
    """Write the logs of a run that began so long ago."""
    age(write(place.root / "logs" / f"dag_id={dag}" / f"run_id={run}" / "attempt=1.log").parent, hours=hours)


def log_folders(place: Place, dag: str) -> set[str]:
    """Return the runs of a DAG that have logs."""
    return {path.name.removeprefix("run_id=") for path in (place.root / "logs" / f"dag_id={dag}").iterdir()}


def test_old_runs_go_with_their_logs(place: Place, airflow: FakeAirflow) -> None:
    """More than one page of them; young ones stay, and so do runs of the branches."""
    for number in range(250):
        airflow.add(RECONCILER_NAME, f"old{number}", began=30, ended=29, state="failed" if number % 2 else "success")
    airflow.add(RECONCILER_NAME, "young", began=2, ended=1)
    airflow.add("ci-pipeline-f26", "of-branch", began=900, ended=899)
    for run, hours in (("old0", 30), ("old1", 30), ("deleted-before", 30), ("young", 2)):
        logs_of(place, RECONCILER_NAME, run, hours=hours)
    done = place.prune()

    assert done.warnings == ()
    assert set(airflow.runs) == {(RECONCILER_NAME, "young"), ("ci-pipeline-f26", "of-branch")}
    assert log_folders(place, RECONCILER_NAME) == {"young"}
    assert sorted({one.kind: 0 for one in done.removed}) == ["airflow run", "log"]
    assert place.gone() == []


@pytest.mark.parametrize("dag", [TRIGGER_NAME, RECONCILER_NAME, RETENTION_NAME])
def test_the_newest_and_what_goes_on_stay(place: Place, airflow: FakeAirflow, dag: str) -> None:
    """Of a DAG that was paused long ago the last run can still be looked at; one run has waited for days."""
    airflow.add(dag, "newest", began=900, ended=899)
    airflow.add(dag, "running", began=901, ended=None, state="running")
    airflow.add(dag, "older", began=1000, ended=999)
    for run in ("newest", "running", "older"):
        logs_of(place, dag, run, hours=900)
    place.gone()

    assert {run for _, run in airflow.runs} == {"newest", "running"}
    assert log_folders(place, dag) == {"newest", "running"}


def test_a_run_that_ended_lately_keeps_its_logs_although_it_began_long_ago(place: Place, airflow: FakeAirflow) -> None:
    """A listener that went on for a day."""
    airflow.add(TRIGGER_NAME, "long", began=30, ended=20)
    airflow.add(TRIGGER_NAME, "newest", began=20, ended=None, state="running")
    logs_of(place, TRIGGER_NAME, "long", hours=30)

    assert place.gone() == []
    assert log_folders(place, TRIGGER_NAME) == {"long"}


def test_a_dry_run_deletes_nothing(place: Place, airflow: FakeAirflow) -> None:
    """It only tells."""
    airflow.add(RETENTION_NAME, "old", began=30, ended=29)
    airflow.add(RETENTION_NAME, "newest", began=1, ended=0.5)
    told = place.prune(dry_run=True)

    assert [(one.kind, one.what) for one in told.removed] == [("airflow run", f"{RETENTION_NAME} old")]
    assert len(airflow.runs) == 2
    assert not [asked for asked in airflow.asked if asked.startswith("DELETE")]


def test_an_airflow_that_is_away_is_one_warning(place: Place, airflow: FakeAirflow) -> None:
    """The rest goes all the same."""
    airflow.away = True
    run = place.with_files(old_run())
    done = place.prune()

    assert ["does not answer" in warning for warning in done.warnings] == [True]
    assert not (place.runs / run.run_id).exists()
