"""A build is asked for once, and found again, whatever happens to Jenkins, to the task, or to us."""

import json
from collections.abc import Callable

import pytest

from ci_pipeline.errors import ExecutorError, StageEnded
from ci_pipeline.outcome import Fault, Status
from operators.jenkins_server import HookedJenkins
from tests.executors.conftest import JenkinsStage, artifact, result
from tests.jenkins_stand_in import PIPELINE, JenkinsStandIn

Stage = Callable[..., JenkinsStage]
ASKED = "/job/ci-pipeline-build_package/buildWithParameters"


def test_a_stage_is_one_build_that_is_looked_at_until_it_has_ended(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """In the queue, at work, and when it has ended; no look waits."""
    one = stage(look_seconds=7)
    asked = one.look()
    waits = one.look()
    build = jenkins.start()
    runs = one.look()
    one.make_outputs()
    build.end("SUCCESS", files={"result.json": result(outputs={"nvr": "greeter-1-1"})})
    ended = one.look()
    url = "http://jenkins.example.org/job/ci-pipeline-build_package/1/"

    assert [look.again_in for look in (asked, waits, runs, ended)] == [7, 7, 7, 0]
    assert (waits.outputs, runs.outputs) == ({}, {"jenkins_url": url})
    assert (ended.status, ended.outputs) == (Status.SUCCESS, {"nvr": "greeter-1-1", "jenkins_url": url})
    assert jenkins.posts == [ASKED]
    assert json.loads(build.parameters["REQUEST"]) == one.request()
    assert one.place == {}


def test_what_is_kept_of_a_build_has_no_secret(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """Nor has what is asked of Jenkins."""
    one = stage()
    one.look()

    assert sorted(one.place) == [
        "aborted", "asked_at", "began_at", "digest", "job", "number", "queue_item", "token", "workspace",
    ]  # fmt: skip
    assert "hunter2" not in json.dumps(one.place) + json.dumps(jenkins.waiting[0].parameters)


def test_a_queue_item_that_expired_is_found_among_the_builds(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """Jenkins forgets minutes after the build began; we may have been away longer."""
    one = stage()
    one.look()
    jenkins.start()
    jenkins.expire()

    assert one.look().outputs["jenkins_url"].endswith("/1/")
    assert jenkins.posts == [ASKED]


def test_a_queue_item_that_vanished_without_a_build_is_an_infrastructure_fault(
    jenkins: JenkinsStandIn, stage: Stage
) -> None:
    """A Jenkins that lost its queue in a crash. The next try asks again."""
    one = stage()
    one.look()
    jenkins.items.clear()

    with pytest.raises(ExecutorError, match="Jenkins has lost the build it was asked for: no queue item 1") as lost:
        one.look()

    assert not isinstance(lost.value, StageEnded)
    assert one.look(try_number=2).again_in
    assert len(jenkins.waiting) == 1


@pytest.mark.parametrize("when", ["in the queue", "at work", "ended"])
def test_another_try_goes_on_with_the_build(jenkins: JenkinsStandIn, stage: Stage, when: str) -> None:
    """The task's process was killed: its build was not. What the build left counts, in the folder of the new try."""
    one = stage()
    one.look()
    log = artifact(one.workspace(1) / "a/x.log", b"said")
    if when != "in the queue":
        build = jenkins.start()
        one.look()
    if when == "ended":
        one.make_outputs()
        build.end("SUCCESS", files={"result.json": result(artifacts=[log]), "a/x.log": b"said"})
    found = one.look(try_number=2)

    assert jenkins.posts == [ASKED]
    assert bool(found.again_in) is (when != "ended")
    assert [one.path for one in found.artifacts] == ([f"{one.workspace(2)}/jenkins/a/x.log"] if when == "ended" else [])


def test_a_try_that_asked_and_never_heard_the_answer_finds_its_build(
    jenkins: JenkinsStandIn, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed in that moment, or Jenkins was. One build is enough."""
    one = stage()
    asks = HookedJenkins.ask

    def unheard(*args: object, **words: str) -> int:
        asks(*args, **words)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(HookedJenkins, "ask", unheard)
    with pytest.raises(KeyboardInterrupt):
        one.look()
    monkeypatch.setattr(HookedJenkins, "ask", lambda *_, **__: pytest.fail("asked twice"))
    found = one.look(try_number=2)

    assert found.again_in
    assert len(jenkins.waiting) == 1


def test_a_build_of_other_input_is_aborted_and_another_asked_for(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """An earlier stage ran again meanwhile: what this one works on is not what it was."""
    one = stage()
    one.look(nvr="greeter-1-1")
    build = jenkins.start()
    one.look(nvr="greeter-1-1")
    one.look(nvr="greeter-1-2")

    assert build.stopped == 1
    assert json.loads(jenkins.waiting[0].parameters["REQUEST"])["nvr"] == "greeter-1-2"


def test_the_build_of_an_ended_stage_is_not_taken_for_the_next(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """A stage that is cleared, or tried again after a fault, is built anew."""
    one = stage()
    for number in (1, 2):
        one.look(number)
        jenkins.start().end("FAILURE")
        assert one.look(number).fault is Fault.INFRASTRUCTURE

    assert len(jenkins.builds) == 2


@pytest.mark.parametrize("mood", ["is_starting", "hangs_up"])
@pytest.mark.parametrize("when", ["before", "in the queue", "at work", "ended"])
def test_a_jenkins_that_restarts_is_waited_for(jenkins: JenkinsStandIn, stage: Stage, when: str, mood: str) -> None:
    """Whenever it does: nothing is lost, nothing is built twice."""
    one = stage()
    if when != "before":
        one.look()
    if when in {"at work", "ended"}:
        build = jenkins.start()
        one.look()
    if when == "ended":
        one.make_outputs()
        build.end("SUCCESS", files={"result.json": result()})
    setattr(jenkins, mood, True)
    away = one.look()
    setattr(jenkins, mood, False)
    there = one.look()

    assert away.again_in == 30
    assert bool(there.again_in) is (when != "ended")
    assert jenkins.posts == [ASKED]
    assert len(jenkins.waiting) + len(jenkins.builds) == 1


def test_a_jenkins_that_stays_away_is_an_infrastructure_fault(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """Before anything was built: as long as a build may wait. The next try waits as long again."""
    one = stage(queue_seconds=100)
    jenkins.is_starting = True
    one.look()
    one.let_pass(101)

    with pytest.raises(ExecutorError, match=r"answers 503; nothing was built for 100 s \(jenkins.queue_seconds\)"):
        one.look()

    assert one.look(try_number=2).again_in


def test_a_jenkins_that_stays_away_keeps_the_build_for_the_next_try(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """When it has had the time it may take, nobody knows how it is; it may have ended well."""
    one = stage()
    one.look()
    build = jenkins.start()
    one.look()
    one.let_pass(60 + 121)
    jenkins.is_starting = True

    with pytest.raises(ExecutorError, match=r"its build has had the 60 s it may take \(limits.seconds\)"):
        one.look()

    jenkins.is_starting = False
    one.make_outputs()
    build.end("SUCCESS", files={"result.json": result()})

    assert one.look(try_number=2).status is Status.SUCCESS


def test_a_refused_account_is_said_at_once(
    jenkins: JenkinsStandIn, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the build is not forgotten: the next try, with a better one, goes on with it."""
    one = stage()
    one.look()
    with monkeypatch.context() as patch:
        patch.setattr("tests.jenkins_stand_in.API_TOKEN", "another")
        with pytest.raises(ExecutorError, match=r"refuses our account \(401\)"):
            one.look()

    assert one.look(try_number=2).again_in
    assert jenkins.posts == [ASKED]


def test_a_build_that_gets_no_agent_is_taken_out_of_the_queue(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """With Jenkins' reason; it is tried again."""
    one = stage(queue_seconds=100)
    one.look()
    jenkins.waiting[0].why = "There are no nodes with the label ci-pipeline"
    one.let_pass(99)
    assert one.look().again_in
    one.let_pass(2)

    with pytest.raises(
        ExecutorError, match=r"no agent .* 100 s \(jenkins.queue_seconds\): There are no nodes with the label"
    ):
        one.look()

    assert jenkins.waiting == []
    assert one.place == {}


def test_time_in_the_queue_is_not_the_builds(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """Its limit counts from its start."""
    one = stage(queue_seconds=7200)
    one.look()
    one.let_pass(7000)
    build = jenkins.start()
    one.look()
    one.let_pass(50)
    one.look()
    one.make_outputs()
    build.end("SUCCESS", files={"result.json": result()}, seconds=50)

    assert one.look().status is Status.SUCCESS


def test_a_pipeline_that_waits_for_an_agent_has_not_begun(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """It leaves Jenkins' queue at once, and waits by itself; its Jenkinsfile says when it has got one."""
    one = stage(queue_seconds=1000)
    jenkins.build_kind = PIPELINE
    one.look()
    build = jenkins.start()
    one.look()
    one.let_pass(900)
    assert one.look().again_in
    build.description = "on agent-1"
    one.look()
    one.let_pass(150)

    assert one.look().again_in
    assert build.stopped == 0


def test_a_pipeline_that_gets_no_agent_is_aborted(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """As an infrastructure fault; the sentence says how a Jenkinsfile tells."""
    one = stage(queue_seconds=100)
    jenkins.build_kind = PIPELINE
    one.look()
    build = jenkins.start()
    one.look()
    one.let_pass(101)

    with pytest.raises(ExecutorError, match=r"no agent .*: its Jenkinsfile sets a description when it has one"):
        one.look()

    assert build.stopped == 1


def test_a_build_over_its_time_is_aborted(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """After a grace to end itself; whoever tries again gets another build."""
    one = stage()
    one.look()
    build = jenkins.start()
    one.look()
    one.let_pass(60 + 100)
    assert one.look().again_in
    one.let_pass(21)

    with pytest.raises(StageEnded, match=r"used up its limit of 60 s \(limits.seconds\)"):
        one.look()

    assert build.stopped == 1
    assert one.place["aborted"]
    assert one.look(try_number=2).again_in
    assert len(jenkins.waiting) == 1


def test_a_build_that_someone_cancels_in_the_queue_is_aborted(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """It is not tried again."""
    one = stage()
    one.look()
    jenkins.waiting[0].cancelled = True

    with pytest.raises(StageEnded, match="someone cancelled it in the queue"):
        one.look()


@pytest.mark.parametrize("state", ["in the queue", "at work", "asked, and not heard of"])
def test_a_cancelled_stage_ends_its_build(jenkins: JenkinsStandIn, stage: Stage, state: str) -> None:
    """By a connection of its own: the task may be in the midst of a request."""
    one = stage()
    one.look()
    if state == "at work":
        jenkins.start()
    if state == "asked, and not heard of":
        path = one.folder / "run" / "jenkins-build_package.json"
        path.write_text(json.dumps(one.place | {"queue_item": None}))
    one.look()
    one.executor.cancel()

    assert jenkins.waiting == []
    assert [build.stopped for build in jenkins.builds.values()] == ([1] if state == "at work" else [])


def test_a_stage_that_is_cancelled_while_it_asks_ends_what_it_asked_for(
    jenkins: JenkinsStandIn, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes in the midst of the request."""
    one = stage()
    asks = HookedJenkins.ask

    def interrupted(server: HookedJenkins, job: str, *, token: str, request: str) -> int:
        one.executor.cancel()
        return asks(server, job, token=token, request=request)

    monkeypatch.setattr(HookedJenkins, "ask", interrupted)

    with pytest.raises(StageEnded, match="its task was ended"):
        one.look()

    assert jenkins.waiting == []
    assert len(jenkins.items) == 1


def test_a_stage_that_is_cancelled_before_it_begins_asks_for_nothing(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """And connects to nothing."""
    one = stage()
    executor = one.new_executor()
    executor.cancel()

    with pytest.raises(StageEnded, match="its task was ended"):
        executor.run(one.request(), workspace=one.workspace())

    assert jenkins.posts == []


def test_cancelling_while_jenkins_is_away_leaves_it_to_the_reconciler(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """The file says that the build is not wanted any more; another try does not take it up."""
    one = stage()
    one.look()
    build = jenkins.start()
    one.look()
    jenkins.is_starting = True
    one.executor.cancel()
    jenkins.is_starting = False

    assert one.place["aborted"]
    assert one.look(try_number=2).again_in
    assert build.stopped == 1
    assert len(jenkins.waiting) == 1


def test_a_build_that_is_deleted_is_an_infrastructure_fault(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """Nothing is known of it any more. Nor of one whose number another build has, of a job that was made anew."""
    one = stage()
    one.look()
    build = jenkins.start()
    one.look()
    build.parameters = {"TOKEN": "of another"}

    with pytest.raises(ExecutorError, match=r"ci-pipeline-build_package #1 is gone: was it, or its job, deleted\?"):
        one.look()


def test_a_job_without_the_parameters_is_said(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """Jenkins drops what a job does not define, without a word."""
    jenkins.add("ci-pipeline-build_package", "REQUEST")
    one = stage()
    one.look()
    jenkins.start()

    with pytest.raises(ExecutorError, match="has no parameter TOKEN; make it as docs/jenkins"):
        one.look()


def test_a_file_that_cannot_be_read_is_no_build(jenkins: JenkinsStandIn, stage: Stage) -> None:
    """A disk was full in that moment."""
    one = stage()
    one.workspace()
    (one.folder / "run" / "jenkins-build_package.json").write_text('{"job": ')

    assert one.look().again_in
    assert one.place["queue_item"] == 1
