"""The jobs for Jenkins: what they are made of, and the program they run. No Jenkins is there to take them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ci_pipeline import settings
from ci_pipeline.jenkins_sections import Jenkins
from ci_pipeline.outcome import Status
from ci_pipeline.stages import PROVISION_HOSTS, STAGES
from tests.executors.conftest import JenkinsStage, artifact, stage
from tests.jenkins_stand_in import JenkinsStandIn, jenkins

__all__ = ["jenkins", "stage"]
FOLDER = settings.project_folder() / "deploy" / "jenkins"
# The steps of the cluster stay on the builder.
BY_JENKINS = [one.name for one in STAGES[: STAGES.index(PROVISION_HOSTS)]]


def test_job_builder_makes_a_job_of_each_stage(tmp_path: Path) -> None:
    """Under the name the settings have for it, with the parameters that are sent, and the Jenkinsfile as it is."""
    program = Path(sys.executable).parent / "jenkins-jobs"
    made = [program, "--ignore-cache", "test", FOLDER / "jobs.yaml", "-o", tmp_path]
    subprocess.run(
        made, check=True, capture_output=True, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / ".cache")}
    )
    jobs = {path.name: ET.parse(path) for path in tmp_path.iterdir() if path.is_file()}  # noqa: S314 - made just now
    parameters = {tuple(one.text for one in job.iterfind(".//parameterDefinitions/*/name")) for job in jobs.values()}
    scripts = {(job.findtext("definition/script") or "").strip() for job in jobs.values()}

    assert sorted(jobs) == sorted(Jenkins().job_of(name) for name in BY_JENKINS)
    assert parameters == {("REQUEST", "TOKEN")}
    assert scripts == {(FOLDER / "Jenkinsfile").read_text().strip()}


def test_the_job_dsl_makes_the_same_jobs() -> None:
    """Read, not run: there is no Job DSL without Jenkins."""
    text = (FOLDER / "jobs.groovy").read_text()

    assert re.findall(r"^    '(\w+)',$", text, re.MULTILINE) == BY_JENKINS
    assert re.findall(r"(?:text|string)Param\('(\w+)'", text) == ["REQUEST", "TOKEN"]
    assert 'pipelineJob("ci-pipeline-${stage}")' in text


def test_the_request_is_never_part_of_a_command() -> None:
    """It goes from the parameter into a file; a build of ours needs nothing else of it."""
    text = re.sub(r"//.*", "", (FOLDER / "Jenkinsfile").read_text())

    assert re.findall(r".*\bparams\b.*", text) == [
        "                writeFile file: 'request.json', text: params.REQUEST, encoding: 'UTF-8'"
    ]
    assert text.count("REQUEST") == 3  # the parameter, its empty variable, and this


class Agent:
    """A Jenkins agent: a checkout with one playbook, and the workspace of a build."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.workspace = folder / "jenkins-workspace"
        self.archive = self.workspace / "archive"
        for part in ("deploy/jenkins", "playbooks", ".venv/bin"):
            (self.home / part).mkdir(parents=True)
        self.workspace.mkdir()
        self.program = Path(shutil.copy(FOLDER / "run_stage.py", self.home / "deploy" / "jenkins"))
        (self.home / "playbooks" / "build_package.yml").touch()

    def has(self, script: str) -> None:
        """Let its ansible-playbook be a shell script."""
        tool = self.home / ".venv" / "bin" / "ansible-playbook"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)

    def has_ansible(self, *tasks: dict[str, Any]) -> None:
        """Let it have the real ansible-playbook, and a playbook of these tasks."""
        (self.home / ".venv" / "bin" / "ansible-playbook").symlink_to(Path(sys.executable).parent / "ansible-playbook")
        project = settings.project_folder() / "playbooks"
        shutil.copy(project / "ansible.cfg", self.home / "playbooks")
        shutil.copytree(project / "inventory", self.home / "playbooks" / "inventory")
        play = {"hosts": "builders", "gather_facts": False, "tasks": tasks}
        (self.home / "playbooks" / "build_package.yml").write_text(json.dumps([play]))

    def start(self, request: object) -> subprocess.Popen[str]:
        """Begin a build, as the Jenkinsfile does."""
        text = request if isinstance(request, str) else json.dumps(request)
        (self.workspace / "request.json").write_text(text)
        command = [sys.executable, str(self.program), "request.json"]
        environment = {**os.environ, "JENKINS_NODE_COOKIE": "a-cookie", "AWS_SECRET": "hunter2"}
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=self.workspace, env=environment, text=True, **streams)

    def build(self, request: object) -> tuple[int, str]:
        """Carry a request out; return the exit code, and the console."""
        build = self.start(request)
        console, _ = build.communicate(timeout=120)
        return build.returncode, console

    @property
    def files(self) -> dict[str, bytes]:
        """What Jenkins would archive."""
        found = [path for path in self.archive.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.archive)): path.read_bytes() for path in found}


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """An agent."""
    return Agent(tmp_path)


def request(folder: Path, **more: Any) -> dict[str, Any]:
    """Return a request."""
    return {"stage": "build_package", "workspace": str(folder / "run" / "x-1"), "limits": {"seconds": 60}, **more}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("", "the request is not JSON"),
        ("[1]", "the request is no JSON object"),
        ({"stage": "../../etc/x"}, "there is no playbook for the stage '../../etc/x'"),
        ({"stage": "x; rm -rf /"}, "there is no playbook for the stage"),
        ({"stage": "smoke_test"}, "there is no playbook for the stage 'smoke_test'"),
        ({"stage": None}, "there is no playbook for the stage 'None'"),
        ({"workspace": "work"}, "the workspace 'work' is no absolute path"),
        ({"workspace": "/srv/../etc"}, "the workspace '/srv/../etc' is no absolute path"),
        ({"workspace": None}, "the workspace 'None' is no absolute path"),
        ({"limits": None}, "limits.seconds of the request is no number of seconds"),
        ({"limits": {"seconds": True}}, "limits.seconds of the request is no number of seconds"),
        ({"limits": {"seconds": 10**9}}, "limits.seconds of the request is no number of seconds"),
    ],
)
def test_a_request_that_is_none_is_refused(agent: Agent, tmp_path: Path, wrong: Any, sentence: str) -> None:
    """Nothing is run, and nothing of an earlier build is archived."""
    agent.has("touch ran")
    agent.archive.mkdir()
    (agent.archive / "result.json").touch()
    code, console = agent.build(wrong if isinstance(wrong, str) else request(tmp_path, **wrong))

    assert (code, agent.files) == (1, {})
    assert sentence in console
    assert not (agent.workspace / "ran").exists()


@pytest.mark.parametrize(
    ("status", "code"), [("SUCCESS", 0), ("SKIPPED", 0), ("UNSTABLE", 3), ("FAILURE", 1), ("odd", 1)]
)
def test_the_result_is_the_builds(agent: Agent, tmp_path: Path, status: str, code: int) -> None:
    """Whatever the playbook's exit code was."""
    asked = request(tmp_path)
    agent.has(f"""echo '{{"status": "{status}"}}' > {asked["workspace"]}/result.json; exit 3""")

    assert agent.build(asked)[0] == code
    assert json.loads(agent.files["result.json"]) == {"status": status}


@pytest.mark.parametrize("left", ["", "not json", "[]", '{"artifacts": 7, "status": "SUCCESS"}'])
def test_a_stage_without_a_result_fails_its_build(agent: Agent, tmp_path: Path, left: str) -> None:
    """What there is of one is kept for whoever asks. One of an earlier build is not taken."""
    asked = request(tmp_path)
    folder = Path(asked["workspace"])
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"status": "SUCCESS"}')
    agent.has(f"printf %s '{left}' > {folder}/result.json" if left else "true")

    assert agent.build(asked)[0] == 1
    assert agent.files == ({"result.json": left.encode()} if left else {})


def test_what_the_result_names_in_the_workspace_is_archived(agent: Agent, tmp_path: Path) -> None:
    """Under its name there. What is elsewhere, is no file, or is a way out, is not."""
    asked = request(tmp_path)
    folder = Path(asked["workspace"])
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "a b.log").write_text("said")
    (folder / "link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    names = ["logs/a b.log", "link", "pipe", "gone", "../../secret", ".", "logs"]
    (tmp_path / "secret").touch()
    told = {
        "status": "SUCCESS",
        "artifacts": [{"path": f"{folder}/{one}"} for one in names] + [7, {"path": "/etc/passwd"}],
    }
    (tmp_path / "told").write_text(json.dumps(told))
    agent.has(f"cp {tmp_path}/told {folder}/result.json")
    code, console = agent.build(asked)

    assert (code, sorted(agent.files)) == (0, ["logs/a b.log", "result.json"])
    assert f"{folder}/pipe is not archived: it is no regular file" in console


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_workspace_that_was_not_there_is_removed(agent: Agent, tmp_path: Path, *, is_shared: bool) -> None:
    """The pipeline makes it where it is shared, and tidies it up there."""
    asked = request(tmp_path)
    folder = Path(asked["workspace"])
    if is_shared:
        folder.mkdir(parents=True)
    agent.has(f"""echo '{{"status": "SUCCESS"}}' > {folder}/result.json""")
    agent.build(asked)

    assert folder.exists() is is_shared


def test_the_playbook_knows_nothing_of_jenkins_secrets(agent: Agent, tmp_path: Path) -> None:
    """But the cookie, by which Jenkins finds what an aborted build leaves."""
    agent.has("env")
    _, console = agent.build(request(tmp_path))

    assert "hunter2" not in console
    assert "JENKINS_NODE_COOKIE=a-cookie" in console


def test_an_aborted_build_ends_its_playbook(agent: Agent, tmp_path: Path) -> None:
    """With all that it started; Jenkins ends the program that began it."""
    asked = request(tmp_path)
    agent.has("sleep 600 & echo $!; wait")
    with agent.start(asked) as build:
        assert build.stdout is not None
        child = psutil.Process(int(build.stdout.readline()))
        build.send_signal(signal.SIGTERM)

        assert build.wait(timeout=60) == 1

    assert psutil.wait_procs([child], timeout=10)[1] == []


def test_what_is_asked_of_jenkins_comes_back_as_a_report(
    agent: Agent, jenkins: JenkinsStandIn, stage: Callable[..., JenkinsStage]
) -> None:
    """The way round: request, the program of the job with the real Ansible, archive, report."""
    said = {"status": "SUCCESS", "outputs": {"nvr": "{{ repo }}-1-1"}}
    said["artifacts"] = [artifact("{{ workspace }}/b.log", b"ok\n")]
    agent.has_ansible(
        {"shell": f"echo ok > b.log; echo '{json.dumps(said)}' > result.json", "args": {"chdir": "{{ workspace }}"}}
    )
    one = stage()
    one.look()
    one.make_outputs()
    build = jenkins.start()
    code, console = agent.build(build.parameters["REQUEST"])
    build.end("SUCCESS" if code == 0 else "FAILURE", files=agent.files, says=console)
    report = one.look()

    assert (report.status, report.reason) == (Status.SUCCESS, "")
    assert report.outputs["nvr"] == "greeter-1-1"
    assert Path(report.artifacts[0].path).read_text() == "ok\n"
