"""Carries a stage out with ansible-runner: `playbooks/<stage>.yml` on the inventory's builders."""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Container, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import ansible_runner
import psutil

from ci_pipeline import process_table
from ci_pipeline.errors import ExecutorError, StageEnded
from ci_pipeline.executors.base import Request
from ci_pipeline.executors.output import Output, why_no_report
from ci_pipeline.executors.progress import PROGRESS_NAME, Progress
from ci_pipeline.executors.report import (
    REPORT_NAME,
    Report,
    over_time,
    ran_over,
    read_report,
    sentence_of,
)

# What a playbook may know of this process. Everything else (database and bus passwords, Airflow's secrets) stays out.
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSH_AUTH_SOCK")
# Past the stage's own limit the playbook gets this long to report before it is ended from outside.
_GRACE_SECONDS: Final = 30
# How often ansible-runner asks whether to end, in seconds. No copy of the output in a file: on a full disk it would
# stop in the middle of the playbook.
_RUNNER: Final = {"suppress_output_file": True, "pexpect_timeout": 1}
_ENDED_FROM_OUTSIDE: Final = ("canceled", "timeout")


class AnsibleExecutor:
    """One playbook run per stage, in the workspace's `ansible/` folder, its output in this process's log."""

    def __init__(
        self, *, playbooks: Path, inventory: Path | None = None, secrets: Mapping[str, str] | None = None
    ) -> None:
        """Use the playbooks, roles and modules of the folder `playbooks`, and its inventory unless another is given.

        `secrets` are variables of the environment that these playbooks need, and no others have.
        """
        self._playbooks = playbooks
        self._secrets = dict(secrets or {})
        self._inventory = inventory or playbooks / "inventory"
        self._cancelled = threading.Event()

    def run(self, request: Request, *, workspace: Path) -> Report:
        """Run the playbook and read its report. See `Executor.run`."""
        started, limit = time.monotonic(), request["limits"]["seconds"]
        output = Output()
        try:
            status = self._play(request, workspace, output)
        except OSError as error:
            raise ExecutorError(sentence_of(error, workspace)) from error
        return _report(status, workspace, output, seconds=time.monotonic() - started, limit=limit)

    def _play(self, request: Request, workspace: Path, output: Output) -> str:
        """Run the playbook; return ansible-runner's word for how it ended."""
        for name in (REPORT_NAME, PROGRESS_NAME):
            (workspace / name).unlink(missing_ok=True)
        private, progress = workspace / "ansible", Progress(workspace)
        (private / "env").mkdir(parents=True, exist_ok=True)
        # It reads them from there alone where it writes no files of the environment itself.
        (private / "env" / "settings").write_text(json.dumps(_RUNNER))
        request_file = workspace / "request.json"
        request_file.write_text(json.dumps(request, indent=2))
        runner = ansible_runner.interface.init_runner(
            private_data_dir=str(private),
            playbook=str(self._playbooks / f"{request['stage']}.yml"),
            inventory=str(self._inventory),
            cmdline=f"--extra-vars @{request_file}",
            envvars=self._environment() | {"ANSIBLE_LOCAL_TEMP": str(private / "tmp")},
            # Our environment stays out of its folder.
            suppress_env_files=True,
            timeout=request["limits"]["seconds"] + _GRACE_SECONDS,
            event_handler=output,
            cancel_callback=partial(self._is_cancelled, progress),
            status_handler=_forget_environment if self._secrets else None,
            quiet=True,
        )
        _drop_our_environment(runner.config.env, needed=self._secrets)
        # Airflow kills a task soon after it has asked it to end: what is not begun is not left behind then.
        if self._cancelled.is_set():
            return "canceled"
        runner.run()
        progress.look()
        if runner.status in _ENDED_FROM_OUTSIDE:
            _end_workers(f"@{request_file}")
        return str(runner.status)

    def cancel(self) -> None:
        """End the playbook at its next sign of life."""
        self._cancelled.set()

    def _is_cancelled(self, progress: Progress) -> bool:
        """Tell whether to end. Asked every second, it also shows how far the stage is."""
        progress.look()
        return self._cancelled.is_set()

    def _environment(self) -> dict[str, str]:
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        # The ansible-playbook of this environment, whatever the caller's PATH.
        path = f"{Path(sys.executable).parent}:{passed_on.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
        return {**passed_on, **self._secrets, "PATH": path, "ANSIBLE_CONFIG": str(self._playbooks / "ansible.cfg")}


def _end_workers(told: str) -> None:
    """End what is left of a playbook that was ended: Ansible's workers lead sessions of their own."""
    for process in process_table.everyone():
        with contextlib.suppress(psutil.Error):
            if told in process.cmdline():
                process_table.end(process)


def _report(status: str, workspace: Path, output: Output, *, seconds: float, limit: int) -> Report:
    if status == "canceled":
        msg = "its task was ended"
        raise StageEnded(msg)
    if status == "timeout":
        raise StageEnded(ran_over(limit))
    try:
        return over_time(read_report(workspace), seconds=seconds, limit=limit)
    except ExecutorError as error:
        if seconds >= limit:
            raise StageEnded(ran_over(limit)) from error
        raise ExecutorError(why_no_report(str(error), output.complaint, workspace)) from error


def _drop_our_environment(environment: dict[str, str], needed: Container[str]) -> None:
    """Remove what ansible-runner copied from this process, which holds the passwords of the bus and the databases."""
    for name, value in os.environ.items():
        if name not in _PASSED_ON and name not in needed and environment.get(name) == value:
            del environment[name]


def _forget_environment(status: dict[str, Any], runner_config: Any) -> None:
    """Remove the file that ansible-runner has just written the whole environment to, before the playbook starts."""
    if status["status"] == "running":
        (Path(runner_config.artifact_dir) / "command").unlink(missing_ok=True)
