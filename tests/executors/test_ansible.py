"""The Ansible executor runs a stage's playbook and trusts nothing but its report."""

import json
import logging
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from ci_pipeline.errors import ExecutorError, StageEnded
from ci_pipeline.executors.ansible import AnsibleExecutor
from ci_pipeline.outcome import Fault, Status

HOSTS = f"""
[builders]
localhost ansible_connection=local ansible_python_interpreter={sys.executable}
"""


@pytest.fixture
def playbooks(tmp_path: Path) -> Path:
    """A folder of playbooks with an inventory."""
    folder = tmp_path / "playbooks"
    (folder / "inventory").mkdir(parents=True)
    (folder / "inventory" / "hosts").write_text(HOSTS)
    (folder / "ansible.cfg").write_text("[defaults]\nretry_files_enabled = false\n")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty workspace."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


def write(playbooks: Path, *tasks: dict[str, Any]) -> None:
    """Write the playbook of the stage `build_package`."""
    play = {"hosts": "builders", "gather_facts": False, "tasks": list(tasks)}
    (playbooks / "build_package.yml").write_text(json.dumps([play]))


def command(script: str) -> dict[str, Any]:
    """Return a task that runs a shell script."""
    return {"ansible.builtin.shell": script}


def request(workspace: Path, *, seconds: int = 60) -> dict[str, Any]:
    """Return a request."""
    return {"stage": "build_package", "repo": "greeter", "workspace": str(workspace), "limits": {"seconds": seconds}}


def test_a_failing_playbook_without_a_report_is_an_error(playbooks: Path, workspace: Path) -> None:
    """It never reads as a pass."""
    write(playbooks, command("exit 3"))

    with pytest.raises(ExecutorError, match=r"left no result.json"):
        AnsibleExecutor(playbooks=playbooks).run(request(workspace), workspace=workspace)


def test_a_report_of_an_earlier_try_is_not_read(playbooks: Path, workspace: Path) -> None:
    """Only what this run left counts."""
    (workspace / "result.json").write_text('{"status": "SUCCESS"}')
    write(playbooks, command("true"))

    with pytest.raises(ExecutorError, match=r"left no result.json"):
        AnsibleExecutor(playbooks=playbooks).run(request(workspace), workspace=workspace)


def test_neither_output_nor_environment_is_kept_in_files(playbooks: Path, workspace: Path) -> None:
    """A copy of the output would end the playbook on a full disk; the environment may hold a provider's key."""
    write(playbooks, command("""echo '{"status": "SUCCESS"}' >{{ workspace }}/result.json"""))
    AnsibleExecutor(playbooks=playbooks, secrets={"KEY": "s3cret"}).run(request(workspace), workspace=workspace)
    left = [path for path in (workspace / "ansible").rglob("*") if path.is_file()]

    assert not [path for path in left if path.name == "stdout"]
    assert not [path for path in left if "s3cret" in path.read_text(errors="replace")]


def test_the_report_of_a_failing_playbook_is_what_counts(playbooks: Path, workspace: Path) -> None:
    """A role says what failed, then fails."""
    report = '{"status": "FAILURE", "reason": "no spec", "fault": "package"}'
    write(playbooks, command(f"echo '{report}' > {{{{ workspace }}}}/result.json; exit 1"))
    found = AnsibleExecutor(playbooks=playbooks).run(request(workspace), workspace=workspace)

    assert (found.status, found.reason) == (Status.FAILURE, "no spec")


def test_the_request_reaches_the_playbook_and_our_secrets_do_not(
    playbooks: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Package code runs below it."""
    monkeypatch.setenv("CI_PIPELINE_BUS__URL", "amqp://ci:hunter2@127.0.0.1/")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "hunter2")
    script = 'env > {{ workspace }}/env; echo \'{"status": "SUCCESS"}\' > {{ workspace }}/result.json'
    write(playbooks, {"ansible.builtin.assert": {"that": "repo == 'greeter'"}}, command(script))
    found = AnsibleExecutor(playbooks=playbooks).run(request(workspace), workspace=workspace)
    environment = (workspace / "env").read_text()

    assert found.status is Status.SUCCESS
    assert "hunter2" not in environment
    assert "CI_PIPELINE_" not in environment


def test_the_output_is_in_the_log_of_the_task(
    playbooks: Path, workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Line by line, without colours."""
    write(playbooks, command('echo \'{"status": "SUCCESS"}\' > {{ workspace }}/result.json') | {"name": "Build it"})
    with caplog.at_level(logging.INFO):
        AnsibleExecutor(playbooks=playbooks).run(request(workspace), workspace=workspace)

    assert any("Build it" in message for message in caplog.messages)
    assert "\x1b" not in caplog.text


def has_ended(pid: int) -> bool:
    """Tell whether a process ends, soon if it has not."""
    try:
        psutil.Process(pid).wait(timeout=10)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def test_cancelling_ends_the_playbook_and_what_it_started(playbooks: Path, workspace: Path) -> None:
    """Within seconds, not at the end of the stage's limit."""
    write(playbooks, command("cd {{ workspace }}; echo $$ >pid; mv pid started; exec sleep 300"))
    executor = AnsibleExecutor(playbooks=playbooks)
    started = workspace / "started"

    def cancel_once_started() -> None:
        while not started.exists():
            time.sleep(0.05)
        executor.cancel()

    canceller = threading.Thread(target=cancel_once_started)
    canceller.start()
    begun = time.monotonic()
    with pytest.raises(ExecutorError, match="its task was ended"):
        executor.run(request(workspace), workspace=workspace)
    canceller.join()

    assert time.monotonic() - begun < 60
    assert has_ended(int(started.read_text()))


def test_a_stage_that_is_cancelled_before_it_begins_runs_nothing(playbooks: Path, workspace: Path) -> None:
    """Whoever ends the task in its first moment leaves no playbook behind."""
    write(playbooks, command("touch {{ workspace }}/started"))
    executor = AnsibleExecutor(playbooks=playbooks)
    executor.cancel()

    with pytest.raises(StageEnded, match="its task was ended"):
        executor.run(request(workspace), workspace=workspace)

    assert not (workspace / "started").exists()


def test_a_stage_over_its_limit_is_ended(playbooks: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the playbook not end itself."""
    monkeypatch.setattr("ci_pipeline.executors.ansible._GRACE_SECONDS", 0)
    write(playbooks, command("sleep 300"))

    with pytest.raises(ExecutorError, match=r"used up its limit of 3 s"):
        AnsibleExecutor(playbooks=playbooks).run(request(workspace, seconds=3), workspace=workspace)


def test_a_stage_that_used_up_its_time_is_aborted_whoever_noticed(playbooks: Path, workspace: Path) -> None:
    """The playbook may report that it stopped a command, before it is ended itself: its sentence and its logs stay."""
    log = {"name": "build.log", "path": "/build.log", "kind": "log", "sha256": "0" * 64, "size": 1}
    report = {"status": "FAILURE", "reason": "the build was stopped", "fault": "package", "artifacts": [log]}
    write(playbooks, command(f"sleep 2; echo '{json.dumps(report)}' > {{{{ workspace }}}}/result.json; exit 1"))
    found = AnsibleExecutor(playbooks=playbooks).run(request(workspace, seconds=2), workspace=workspace)

    assert (found.status, found.fault) == (Status.ABORTED, Fault.NONE)
    assert found.reason == "the stage was ended: it used up its limit of 2 s (limits.seconds): the build was stopped"
    assert [artifact.name for artifact in found.artifacts] == ["build.log"]


def test_a_stage_that_used_up_its_time_and_broke_is_ended(playbooks: Path, workspace: Path) -> None:
    """Not tried again for want of a report."""
    write(playbooks, command("sleep 2; exit 1"))

    with pytest.raises(StageEnded, match="used up its limit of 2 s"):
        AnsibleExecutor(playbooks=playbooks).run(request(workspace, seconds=2), workspace=workspace)


def test_a_playbook_without_a_report_is_told_by_what_it_complained_of(playbooks: Path, workspace: Path) -> None:
    """The task that failed last."""
    write(playbooks, {"ansible.builtin.fail": {"msg": "the moon is\nin the way"}})

    with pytest.raises(ExecutorError, match=r"left no result.json: .*; its playbook says: the moon is in the way"):
        AnsibleExecutor(playbooks=playbooks).run(request(workspace), workspace=workspace)


def test_a_builder_that_cannot_be_reached_is_named(playbooks: Path, workspace: Path) -> None:
    """Its playbook cannot report."""
    hosts = "[builders]\nfar ansible_host=127.0.0.1 ansible_port=9 ansible_connection=ssh\n"
    (playbooks / "inventory" / "hosts").write_text(hosts)
    write(playbooks, command("true"))

    with pytest.raises(ExecutorError, match="Failed to connect to the host via ssh"):
        AnsibleExecutor(playbooks=playbooks).run(request(workspace), workspace=workspace)


def test_a_playbook_that_cannot_be_read_is_told(playbooks: Path, workspace: Path) -> None:
    """Ansible's own error."""
    (playbooks / "build_package.yml").write_text("- hosts: [")

    with pytest.raises(ExecutorError, match=r"its playbook says: .*YAML"):
        AnsibleExecutor(playbooks=playbooks).run(request(workspace), workspace=workspace)
