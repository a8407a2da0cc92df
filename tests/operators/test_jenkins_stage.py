"""A stage that Jenkins carries out, as Airflow runs it."""

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from ci_pipeline import addresses, reconcile, settings, store
from ci_pipeline.executors.ansible import AnsibleExecutor
from ci_pipeline.executors.jenkins import JenkinsExecutor
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs
from operators.build_package import BuildPackageOperator
from operators.functional_tests import FunctionalTestsOperator
from operators.reconcile import ReconcileOperator
from tests.executors.conftest import result
from tests.jenkins_stand_in import JenkinsStandIn, StandInBuild, jenkins
from tests.makers import OUTPUTS

__all__ = ["jenkins"]
pytestmark = pytest.mark.usefixtures("database")
BUILD_URL = "http://jenkins.example.org/job/ci-pipeline-build_package/1/"


class Task:
    """The task `build_package` of a run."""

    def __init__(self, context: Callable[..., Any]) -> None:
        self._context = context
        self.operator = BuildPackageOperator()

    def execute(self, *, try_number: int = 1) -> None:
        """Run it as a worker does, each time in a process of its own."""
        self.operator = BuildPackageOperator()
        self.operator.execute(self._context(self.operator, try_number=try_number))

    def defers(self, *, try_number: int = 1) -> TaskDeferred:
        """Run it; return what it waits for."""
        with pytest.raises(TaskDeferred) as deferred:
            self.execute(try_number=try_number)
        return deferred.value


@pytest.fixture
def task(
    jenkins: JenkinsStandIn, current: Settings, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Task]:
    """The build of a package, by Jenkins."""
    monkeypatch.setenv("CI_PIPELINE_STAGES__BUILD_PACKAGE__EXECUTOR", "jenkins")
    monkeypatch.setenv("CI_PIPELINE_JENKINS__LOOK_SECONDS", "9")
    settings.current.cache_clear()
    yield Task(context)
    shutil.rmtree(current.state / "runs", ignore_errors=True)


def tries() -> list[tuple[int, str | None, str]]:
    """Return the tries of the build."""
    with store.session() as session:
        return [(row.try_number, row.status, row.reason) for row in runs.get(session, "manual__1").results]


def link(try_number: int = 1) -> str:
    """Return the link to Jenkins that the UI shows."""
    with store.session() as session:
        run = runs.get(session, "manual__1")
        found = addresses.of_try(session, settings.current(), run, "build_package", try_number)
        return found.get(addresses.JENKINS, "")


def end_well(build: StandInBuild) -> None:
    """Let a build end, and what it makes be there."""
    request = json.loads(build.parameters["REQUEST"])
    folder = settings.current().artifacts.folder
    assert request["package_repo"].startswith(str(folder))
    build.end("SUCCESS", files={"result.json": result(outputs=OUTPUTS["build_package"])})


def test_each_stage_has_the_executor_that_is_configured(task: Task) -> None:
    """One by Jenkins, the others as ever."""
    assert isinstance(BuildPackageOperator().stage_executor, JenkinsExecutor)
    assert isinstance(FunctionalTestsOperator().stage_executor, AnsibleExecutor)


def test_no_worker_waits_for_the_build(task: Task, jenkins: JenkinsStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task is deferred between looks; its log is to be seen meanwhile, its end is the build's."""
    monkeypatch.setattr("ci_pipeline.executors.jenkins_report.look_for_outputs", lambda *_: None)
    asked = task.defers()
    in_queue = link()
    build = jenkins.start()
    runs_ = task.defers()
    at_work = link()
    end_well(build)
    task.execute()

    assert [one.trigger.seconds for one in (asked, runs_)] == [9, 9]
    assert asked.method_name == "execute"
    assert (in_queue, at_work) == ("", f"{BUILD_URL}console")
    assert tries() == [(1, "SUCCESS", "")]
    assert link() == f"{BUILD_URL}console"
    assert len(jenkins.builds) == 1


def test_another_try_after_a_killed_worker_goes_on_with_the_build(task: Task, jenkins: JenkinsStandIn) -> None:
    """Airflow runs the task as its second try; the package is built once."""
    task.defers()
    jenkins.start()
    task.defers(try_number=2)

    assert [number for number, *_ in tries()] == [1, 2]
    assert link(2) == f"{BUILD_URL}console"
    assert len(jenkins.items) == 1


def test_a_build_that_failed_for_us_is_tried_again_with_another(task: Task, jenkins: JenkinsStandIn) -> None:
    """And the failed one stays to be seen."""
    task.defers()
    jenkins.start().end("FAILURE", says="No space left on device")
    with pytest.raises(AirflowException, match="No space left on device") as failed:
        task.execute()
    task.defers(try_number=2)

    assert not isinstance(failed.value, AirflowFailException)
    assert link(1) == f"{BUILD_URL}console"
    assert len(jenkins.waiting) == 1


def test_a_build_that_a_person_aborted_is_not_tried_again(task: Task, jenkins: JenkinsStandIn) -> None:
    """The journal says who it was."""
    task.defers()
    jenkins.start().abort("Aborted by Jane Doe")
    with pytest.raises(AirflowFailException, match="ABORTED: the build was aborted in Jenkins: Aborted by Jane Doe"):
        task.execute()

    assert tries()[0][1] == "ABORTED"


def test_outputs_that_are_not_there_fail_the_stage(task: Task, jenkins: JenkinsStandIn) -> None:
    """The agent has built for itself alone."""
    task.defers()
    end_well(jenkins.start())

    with pytest.raises(AirflowException, match="it is not here: its agent has to share the folder of artifacts"):
        task.execute()


def test_a_task_that_is_ended_aborts_its_build(task: Task, jenkins: JenkinsStandIn) -> None:
    """If it is at work just then."""
    task.defers()
    build = jenkins.start()
    task.defers()
    task.operator.on_kill()

    assert build.stopped == 1


def test_a_run_that_is_cancelled_while_its_task_is_deferred_aborts_its_build(
    task: Task, jenkins: JenkinsStandIn, current: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process of the task is there to do it: the reconciler does, and says so."""
    task.defers()
    build = jenkins.start()
    monkeypatch.setattr(reconcile, "reconcile", lambda _: [])
    with store.session() as session:
        run = runs.get(session, "manual__1")
        Journal(session, current).finish_run(runs.locked(session, run.id), reason="admin ended it in Airflow")
    said = ReconcileOperator(task_id="reconcile").execute({})
    build.abort()
    ReconcileOperator(task_id="reconcile").execute({})

    assert said == ["manual__1: aborted a Jenkins build of ci-pipeline-build_package that outlived build_package"]
    assert build.stopped == 1
    assert tries()[0][1] == Status.ABORTED


def test_no_secret_of_the_connection_is_kept_or_logged(
    task: Task, jenkins: JenkinsStandIn, current: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the request, nor the database, nor the file, nor the log."""
    task.defers()
    jenkins.start().end("FAILURE")
    with pytest.raises(AirflowException) as failed:
        task.execute()
    files = [path.read_text() for path in (current.state / "runs").rglob("*") if path.is_file()]
    asked = json.dumps([item.parameters for item in jenkins.items.values()])

    assert "hunter2" not in caplog.text + str(failed.value) + asked + "".join(files) + str(tries())
