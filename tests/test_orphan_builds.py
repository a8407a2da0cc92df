"""Jenkins builds that nobody waits for any more are aborted, and no others."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ci_pipeline import orphan_builds, store
from ci_pipeline.executors.jenkins_place import Place, PlaceFile
from ci_pipeline.executors.report import infrastructure_failure
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Run
from operators.jenkins_server import connect
from tests.jenkins_stand_in import JenkinsStandIn, StandInBuild, jenkins
from tests.makers import new_run, play

__all__ = ["jenkins"]
pytestmark = pytest.mark.usefixtures("database")
JOB = "ci-pipeline-build_package"
Build = Callable[[Run], StandInBuild]


@pytest.fixture
def current(current: Settings, tmp_path: Path) -> Settings:
    """The settings, with a state folder of the test's own."""
    return current.model_copy(update={"state": tmp_path})


@pytest.fixture
def build_of(current: Settings, jenkins: JenkinsStandIn) -> Build:
    """Let Jenkins build a run's package, as its executor has asked for it."""

    def build(run: Run) -> StandInBuild:
        workspace = current.state / "runs" / run.dag_id / run.run_id / "build_package-1"
        workspace.mkdir(parents=True, exist_ok=True)
        place = Place.of({"workspace": str(workspace)}, JOB)
        item = jenkins.put(JOB, {"TOKEN": place.token, "REQUEST": "{}"})
        PlaceFile.of(workspace, "build_package").write(place.model_copy(update={"queue_item": item.id}))
        return jenkins.start(item)

    return build


def end_all(settings: Settings) -> list[tuple[str, str]]:
    """Look for orphans."""
    return orphan_builds.end_all(settings, partial(connect, "jenkins_default"))


def begun(settings: Settings, **change: str) -> Run:
    """Return a run whose build has begun."""
    run = new_run(**change)
    with store.session() as session:
        Journal(session, settings).begin_stage(runs.locked(session, run.id), BUILD_PACKAGE, 1)
    return run


def test_the_build_of_a_run_that_was_ended_is_aborted(
    current: Settings, jenkins: JenkinsStandIn, build_of: Build
) -> None:
    """It is said once, asked for until it has ended, and then forgotten."""
    run = begun(current)
    build = build_of(run)
    with store.session() as session:
        Journal(session, current).finish_run(runs.locked(session, run.id), reason="admin ended it in Airflow")
    first, second = end_all(current), end_all(current)
    build.abort()
    third, asked = end_all(current), len(jenkins.asked)

    assert first == [(run.run_id, f"aborted a Jenkins build of {JOB} that outlived build_package")]
    assert (second, third, build.stopped) == ([], [], 2)
    assert end_all(current) == []
    assert len(jenkins.asked) == asked


def test_the_build_of_a_run_that_nobody_knows_is_aborted(current: Settings, build_of: Build) -> None:
    """Its rows are gone."""
    build = build_of(Run(dag_id="ci-pipeline-f26", run_id="rpms.gone-35fdde9-f26-9"))
    end_all(current)

    assert build.stopped == 1


@pytest.mark.parametrize("status", [Status.ABORTED, Status.SKIPPED, Status.UNSTABLE])
def test_the_build_of_a_stage_that_has_ended_is_aborted(current: Settings, build_of: Build, status: Status) -> None:
    """Though its run goes on, or has yet to be summed up."""
    run = new_run()
    build = build_of(run)
    play(current, run, status)
    end_all(current)

    assert build.stopped == 1


def test_the_build_of_a_stage_that_goes_on_is_left_alone(
    current: Settings, jenkins: JenkinsStandIn, build_of: Build
) -> None:
    """Jenkins is not even asked."""
    build_of(begun(current))

    assert end_all(current) == []
    assert jenkins.asked == []


def test_the_build_that_the_next_try_goes_on_with_is_left_alone(current: Settings, build_of: Build) -> None:
    """The task's process was killed, and Airflow waits before it tries again."""
    run = begun(current)
    build = build_of(run)
    with store.session() as session:
        row, lost = runs.locked(session, run.id), infrastructure_failure("the task's process was killed")
        Journal(session, current).finish_stage(row, BUILD_PACKAGE, 1, lost, final=False)

    assert end_all(current) == []
    assert build.stopped == 0


def test_a_jenkins_that_is_away_is_asked_again(
    current: Settings, jenkins: JenkinsStandIn, build_of: Build, caplog: pytest.LogCaptureFixture
) -> None:
    """The reconciler has other work, and says what it could not do."""
    build = build_of(Run(dag_id="ci-pipeline-f26", run_id="rpms.gone-35fdde9-f26-9"))
    jenkins.is_starting = True
    assert end_all(current) == []
    jenkins.is_starting = False
    end_all(current)

    assert "the Jenkins build of build_package of rpms.gone-35fdde9-f26-9 cannot be aborted: Jenkins at" in caplog.text
    assert build.stopped == 1


def test_a_connection_that_is_gone_stops_nothing_else(
    current: Settings, build_of: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The reconciler goes on."""
    build_of(Run(dag_id="ci-pipeline-f26", run_id="rpms.gone-35fdde9-f26-9"))
    monkeypatch.delenv("AIRFLOW_CONN_JENKINS_DEFAULT")

    assert end_all(current) == []
    assert "1 Jenkins builds that nobody waits for cannot be aborted: there is no Airflow connection" in caplog.text


def test_a_file_that_tells_nothing_is_removed(current: Settings, jenkins: JenkinsStandIn) -> None:
    """Nobody can say which build it was of."""
    folder = current.state / "runs" / "ci-pipeline-f26" / "rpms.gone-35fdde9-f26-9"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "jenkins-build_package.json"
    file.write_text(json.dumps({"job": JOB}))
    end_all(current)

    assert not file.exists()
    assert jenkins.asked == []
