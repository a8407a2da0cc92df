"""Carries a stage out with ansible-runner: `playbooks/<stage>.yml` on the inventory's builders."""

import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any, Final

import ansible_runner

from ci_pipeline.errors import StageEnded
from ci_pipeline.executors.base import Request
from ci_pipeline.executors.report import REPORT_NAME, Report, clean, read_report

log = logging.getLogger(__name__)

# What a playbook may know of this process. Everything else (database and bus passwords, Airflow's secrets) stays out.
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSH_AUTH_SOCK")
# Past the stage's own limit the playbook gets this long to report before it is ended from outside.
_GRACE_SECONDS: Final = 30
_LONGEST_LINE: Final = 300


class AnsibleExecutor:
    """One playbook run per stage, in the workspace's `ansible/` folder, its output in this process's log."""

    def __init__(self, *, playbooks: Path) -> None:
        """Use the playbooks, roles, modules and inventory of the folder `playbooks`."""
        self._playbooks = playbooks
        self._cancelled = threading.Event()

    def run(self, request: Request, *, workspace: Path) -> Report:
        """Run the playbook and read its report. See `Executor.run`."""
        (workspace / REPORT_NAME).unlink(missing_ok=True)
        private = workspace / "ansible"
        private.mkdir(parents=True, exist_ok=True)
        request_file = workspace / "request.json"
        request_file.write_text(json.dumps(request, indent=2))
        runner = ansible_runner.interface.init_runner(
            private_data_dir=str(private),
            playbook=str(self._playbooks / f"{request['stage']}.yml"),
            inventory=str(self._playbooks / "inventory"),
            cmdline=f"--extra-vars @{request_file}",
            envvars=self._environment(),
            settings={"suppress_env_files": True, "pexpect_timeout": 1},
            timeout=request["limits"]["seconds"] + _GRACE_SECONDS,
            event_handler=_log_event,
            cancel_callback=self._cancelled.is_set,
            quiet=True,
        )
        _drop_our_environment(runner.config.env)
        runner.run()
        return self._report(str(runner.status), workspace, limit=request["limits"]["seconds"])

    def cancel(self) -> None:
        """End the playbook at its next sign of life."""
        self._cancelled.set()

    def _environment(self) -> dict[str, str]:
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        # The ansible-playbook of this environment, whatever the caller's PATH.
        path = f"{Path(sys.executable).parent}:{passed_on.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
        return {**passed_on, "PATH": path, "ANSIBLE_CONFIG": str(self._playbooks / "ansible.cfg")}

    @staticmethod
    def _report(status: str, workspace: Path, *, limit: int) -> Report:
        if status == "timeout":
            msg = f"the stage was ended: it ran longer than its limit of {limit} s (limits.seconds)"
            raise StageEnded(msg)
        if status == "canceled":
            msg = "the stage was ended: it was cancelled"
            raise StageEnded(msg)
        return read_report(workspace)


def _drop_our_environment(environment: dict[str, str]) -> None:
    """Remove what ansible-runner copied from this process, which holds the passwords of the bus and the databases."""
    for name, value in os.environ.items():
        if name not in _PASSED_ON and environment.get(name) == value:
            del environment[name]


def _log_event(event: dict[str, Any]) -> bool:
    """Put the playbook's output into the log, line by line as it comes. The stage's report has the whole of it."""
    for line in event.get("stdout", "").splitlines():
        if line.strip():
            log.info("%s", clean(line)[:_LONGEST_LINE])
    return True
