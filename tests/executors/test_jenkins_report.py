"""What a build left is read as the hostile input it is; what Jenkins says of it is held against that."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ci_pipeline.executors.report import Report
from ci_pipeline.outcome import Fault, Status
from tests.executors.conftest import JenkinsStage, artifact, result
from tests.jenkins_stand_in import JenkinsStandIn

Stage = Callable[..., JenkinsStage]
Built = Callable[..., Report]
REV = "9a4e37c459e67c7187df4c571ddd0ad75969633d40bdfaa7c1d95bbff5fe1e04"
INFRASTRUCTURE = (Status.FAILURE, Fault.INFRASTRUCTURE)


@pytest.fixture
def one(stage: Stage) -> JenkinsStage:
    """A stage whose outputs are there."""
    made = stage()
    made.make_outputs()
    return made


@pytest.fixture
def built(jenkins: JenkinsStandIn, one: JenkinsStage) -> Built:
    """Let a build end, with these files; return the report of its stage."""

    def build(ended: str, files: dict[str, bytes] | None = None, **how: Any) -> Report:
        one.look()
        jenkins.start().end(ended, files=files, **how)
        return one.look()

    return build


@pytest.mark.parametrize("ended", ["FAILURE", "SUCCESS", "UNSTABLE", "NOT_BUILT"])
def test_a_build_without_a_result_is_an_infrastructure_fault(built: Built, ended: str) -> None:
    """Whatever Jenkins calls it. Its console's last line is the reason."""
    report = built(ended, {"console.log": b"x"}, says="/srv/ci-pipeline/deploy/jenkins/run-stage: not found")

    assert (report.status, report.fault) == INFRASTRUCTURE
    assert report.reason == (
        f"the Jenkins build ended {ended} without result.json; its console ends: "
        "/srv/ci-pipeline/deploy/jenkins/run-stage: not found: "
        "http://jenkins.example.org/job/ci-pipeline-build_package/1/"
    )
    assert report.outputs["jenkins_url"]


def test_a_build_that_went_down_with_jenkins_is_an_infrastructure_fault(
    jenkins: JenkinsStandIn, one: JenkinsStage
) -> None:
    """Jenkins finds it on its disk, and knows no result."""
    one.look()
    build = jenkins.start()
    one.look()
    build.went_down = True
    report = one.look()

    assert (report.status, report.fault) == INFRASTRUCTURE
    assert "the Jenkins build ended with Jenkins, without result.json; its console ends: Started by" in report.reason


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "breaks the stage contract at its top"),
        (b"{", "breaks the stage contract at its top"),
        (result(colour="red"), "breaks the stage contract at colour"),
        (result("ABORTED"), "breaks the stage contract at status: a stage cannot abort itself"),
        (result(again_in=5), "breaks the stage contract at again_in: nothing outlives a Jenkins build"),
        (b" " * (33 << 20), "Jenkins sends more than 33554432 bytes for the artifact 'result.json'"),
    ],
    ids=["empty", "cut off", "unknown key", "aborted", "goes on", "too large"],
)
def test_a_result_that_breaks_the_contract_is_an_infrastructure_fault(built: Built, data: bytes, sentence: str) -> None:
    """It is never half believed."""
    report = built("SUCCESS", {"result.json": data})

    assert (report.status, report.fault) == INFRASTRUCTURE
    assert sentence in report.reason


@pytest.mark.parametrize(
    ("ended", "says", "status", "reason"),
    [
        ("SUCCESS", "SUCCESS", "SUCCESS", ""),
        ("SUCCESS", "SKIPPED", "SKIPPED", "because"),
        ("SUCCESS", "UNSTABLE", "UNSTABLE", "because"),
        ("SUCCESS", "FAILURE", "FAILURE", "because"),
        ("UNSTABLE", "UNSTABLE", "UNSTABLE", "because"),
        ("UNSTABLE", "FAILURE", "FAILURE", "because"),
        ("UNSTABLE", "SUCCESS", "SUCCESS", "its result.json says SUCCESS, Jenkins says UNSTABLE"),
        ("UNSTABLE", "SKIPPED", "SKIPPED", "because; its result.json says SKIPPED, Jenkins says UNSTABLE"),
        ("FAILURE", "FAILURE", "FAILURE", "because"),
        ("FAILURE", "UNSTABLE", "UNSTABLE", "because"),
    ],
)
def test_the_result_counts_beside_what_jenkins_calls_it(
    built: Built, ended: str, says: str, status: str, reason: str
) -> None:
    """A Jenkinsfile need not fail its build. A contradiction is in the reason."""
    said = {} if says == "SUCCESS" else {"reason": "because", "fault": "package" if says == "FAILURE" else ""}
    report = built(ended, {"result.json": result(says, **said)})

    assert (report.status, report.reason) == (status, reason)
    assert report.fault == ("package" if status == "FAILURE" else "")


@pytest.mark.parametrize("ended", ["FAILURE", "NOT_BUILT"])
@pytest.mark.parametrize("says", ["SUCCESS", "SKIPPED"])
def test_a_good_result_of_a_failed_build_is_not_believed(built: Built, ended: str, says: str) -> None:
    """Something went wrong after it was written; nobody knows what."""
    report = built(ended, {"result.json": result(says)})

    assert (report.status, report.fault) == INFRASTRUCTURE
    assert f"contradicts itself, its result.json says {says}, Jenkins says {ended}" in report.reason


def test_a_build_that_a_person_aborted_is_aborted(jenkins: JenkinsStandIn, one: JenkinsStage) -> None:
    """Who it was is said, and it is not tried again; its result does not count."""
    one.look()
    build = jenkins.start()
    build.files["result.json"] = result()
    build.abort("Aborted by Jane Doe")
    report = one.look()

    assert report.status is Status.ABORTED
    assert report.reason.startswith(
        "the build was aborted in Jenkins: Aborted by Jane Doe: http://jenkins.example.org/"
    )


def test_a_build_that_was_aborted_by_nobody_knows_whom(jenkins: JenkinsStandIn, one: JenkinsStage) -> None:
    """Jenkins does not always say."""
    one.look()
    jenkins.start().end("ABORTED")

    assert "aborted in Jenkins: Jenkins does not say by whom" in one.look().reason


def test_a_build_that_lost_its_agent_is_an_infrastructure_fault(jenkins: JenkinsStandIn, one: JenkinsStage) -> None:
    """Jenkins calls that aborted, too."""
    one.look()
    cause = "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$RemovedNodeCause"
    jenkins.start().abort("Agent was removed", cause)
    report = one.look()

    assert (report.status, report.fault) == INFRASTRUCTURE
    assert "lost its agent: Agent was removed" in report.reason


@pytest.mark.parametrize("files", [{}, {"result.json": result("FAILURE", reason="slow", fault="infrastructure")}])
def test_a_build_that_used_up_its_time_is_aborted(
    jenkins: JenkinsStandIn, one: JenkinsStage, files: dict[str, bytes]
) -> None:
    """It ended itself, as the stage contract wants it."""
    one.look()
    build = jenkins.start()
    one.look()
    one.let_pass(100)
    build.end("FAILURE", files=files, seconds=61)
    report = one.look()

    assert (report.status, report.fault) == (Status.ABORTED, Fault.NONE)
    assert "used up its limit of 60 s" in report.reason


def test_files_come_out_of_the_archive_into_the_workspace(built: Built, one: JenkinsStage) -> None:
    """Under the names the build gave them."""
    log = artifact(one.workspace() / "logs/build one.log", b"said\n")
    report = built("SUCCESS", {"result.json": result(artifacts=[log]), "logs/build one.log": b"said\n"})
    here = Path(report.artifacts[0].path)

    assert here == one.workspace() / "jenkins/logs/build one.log"
    assert here.read_bytes() == b"said\n"


def test_files_in_the_shared_folder_are_looked_at_there(built: Built, one: JenkinsStage) -> None:
    """They are not copied."""
    rpm = one.folder / "artifacts/builds/run/x.rpm"
    rpm.write_bytes(b"rpm")
    report = built("SUCCESS", {"result.json": result(artifacts=[artifact(rpm, b"rpm", kind="rpm")])})

    assert [one.path for one in report.artifacts] == [str(rpm)]


WRONG = [
    ("{workspace}/gone.log", "was not archived"),
    ("{workspace}/../build_package-0/x", "has no plain path"),
    ("{workspace}//x.log", "has no plain path"),
    ("{workspace}/./x.log", "has no plain path"),
    ("/etc/passwd", "is neither in the stage's workspace nor among the artifacts"),
    ("{workspace}-else/x.log", "is neither in the stage's workspace nor among the artifacts"),
    ("{workspace}", "was not archived"),
    ("{artifacts}/../secret", "has no plain path"),
    ("{artifacts}/gone.rpm", "cannot be read here: No such file or directory"),
    ("{artifacts}", "cannot be read here: Is a directory"),
    ("{artifacts}/link", "cannot be read here: Too many levels of symbolic links"),
    ("{artifacts}/pipe", "is not what its result.json says"),
    ("{artifacts}/other.rpm", "is not what its result.json says: size or sha256 differ"),
    ("{workspace}/x.log", "is not what its result.json says: size or sha256 differ"),
]


@pytest.mark.parametrize(("path", "sentence"), WRONG)
def test_a_file_that_is_not_what_the_result_says_is_refused(
    built: Built, one: JenkinsStage, path: str, sentence: str
) -> None:
    """Nothing of a success is believed then. It is the infrastructure's fault: agents are."""
    folder = one.folder / "artifacts"
    (folder / "other.rpm").write_bytes(b"else")
    (folder / "link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    named = artifact(path.format(workspace=one.workspace(), artifacts=folder), b"said")
    report = built("SUCCESS", {"result.json": result(artifacts=[named]), "x.log": b"sbid"})

    assert (report.status, report.fault) == INFRASTRUCTURE
    assert sentence in report.reason


def test_a_file_longer_than_said_is_refused(built: Built, one: JenkinsStage) -> None:
    """It is not read to its end."""
    named = artifact(one.workspace() / "x.log", b"said")
    report = built("SUCCESS", {"result.json": result(artifacts=[named]), "x.log": b"said and more"})

    assert "Jenkins sends more than 4 bytes for the artifact 'x.log'" in report.reason


def test_files_larger_than_a_stage_may_write_are_not_fetched(
    built: Built, one: JenkinsStage, jenkins: JenkinsStandIn
) -> None:
    """All of them together, before the first byte of the one that is too much."""
    named = [artifact(one.workspace() / name, b"x" * 600_000) for name in ("a", "b")]
    files = {"result.json": result(artifacts=named), "a": b"x" * 600_000, "b": b"x" * 600_000}
    report = built("SUCCESS", files)

    assert "is larger than the stage may write (limits.disk_mb)" in report.reason
    assert [line for line in jenkins.asked if line.endswith("/b")] == []


def test_a_bad_end_is_told_even_when_its_log_is_not_there(built: Built, one: JenkinsStage) -> None:
    """What is there of its files is kept."""
    named = [artifact(one.workspace() / name, b"said") for name in ("gone.log", "x.log")]
    told = result("FAILURE", reason="%check failed", fault="package", artifacts=named)
    report = built("FAILURE", {"result.json": told, "x.log": b"said"})

    assert (report.status, report.fault, report.reason) == (Status.FAILURE, Fault.PACKAGE, "%check failed")
    assert [artifact.name for artifact in report.artifacts] == ["x.log"]


def test_a_folder_that_was_prepared_for_us_is_not_written_through(
    built: Built, one: JenkinsStage, tmp_path: Path
) -> None:
    """On a shared file system package code could have been in the workspace before."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (one.workspace() / "jenkins").symlink_to(elsewhere)
    named = artifact(one.workspace() / "x.log", b"said")
    report = built("SUCCESS", {"result.json": result(artifacts=[named]), "x.log": b"said"})

    assert report.status is Status.SUCCESS
    assert list(elsewhere.iterdir()) == []


MADE = [
    ("build_package", {}, "builds/run/repodata/repomd.xml"),
    ("compose_ostree", {"compose_rev": REV}, f"ostree/objects/{REV[:2]}/{REV[2:]}.commit"),
    ("generate_image", {"image_name": "fedora-atomic-26.1.qcow2"}, "images/fedora-atomic-26.1.qcow2"),
]


@pytest.mark.parametrize(("name", "outputs", "path"), MADE)
def test_what_a_stage_made_must_be_where_the_next_one_looks(
    jenkins: JenkinsStandIn, stage: Stage, name: str, outputs: dict[str, str], path: str
) -> None:
    """An agent that does not share our folders builds for nobody; the sentence says what to do."""
    jenkins.add(f"ci-pipeline-{name}", "REQUEST", "TOKEN")
    reports = []
    one = stage(name)
    for is_there in (False, True):
        if is_there:
            (one.folder / "artifacts" / path).parent.mkdir(parents=True)
            (one.folder / "artifacts" / path).touch()
        one.look()
        jenkins.start().end("SUCCESS", files={"result.json": result(outputs=outputs)})
        reports.append(one.look())

    assert (reports[0].status, reports[0].fault) == INFRASTRUCTURE
    assert (
        f"says it made {one.folder}/artifacts/{path}, and it is not here: its agent has to share" in reports[0].reason
    )
    assert reports[1].status is Status.SUCCESS


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("compose_ostree", {}),
        ("compose_ostree", {"compose_rev": "../../../etc"}),
        ("compose_ostree", {"compose_rev": 7}),
        ("generate_image", {"image_name": "../../x.qcow2"}),
        ("generate_image", {"image_name": ".."}),
    ],
)
def test_outputs_that_are_no_names_are_refused(
    jenkins: JenkinsStandIn, stage: Stage, name: str, outputs: dict[str, str]
) -> None:
    """They would be paths of ours."""
    jenkins.add(f"ci-pipeline-{name}", "REQUEST", "TOKEN")
    one = stage(name)
    one.look()
    jenkins.start().end("SUCCESS", files={"result.json": result(outputs=outputs)})

    assert "breaks the stage contract at outputs." in one.look().reason
