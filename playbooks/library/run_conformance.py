#!/usr/bin/python
"""Run a Kubernetes conformance suite against a cluster and judge it by the JUnit files it leaves.

The suite is the operator's own: it gets KUBECONFIG, REPORT_DIR (where its JUnit belongs) and IMAGE (the image under
test), and runs outside of the sandbox. A run passes only when cases were executed and all of them passed; skipped cases
are counted, not listed (a conformance suite skips thousands).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, Any, Final

from ansible.module_utils.ci_junit import Junit, read_junit
from ansible.module_utils.ci_progress import PROGRESS_NAME, Progress
from ansible.module_utils.ci_results import regular_files, verdict
from ansible.module_utils.ci_stage import InfrastructureError, Part, StageError, clean, run_module

ARGUMENTS: Final[dict[str, Any]] = {
    "cluster": {"type": "str", "choices": ["none", "existing"], "required": True},
    "kubeconfig": {"type": "str", "default": ""},
    "command": {"type": "list", "elements": "str", "default": []},
    "image": {"type": "str", "default": ""},
    "workspace": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
}
OFF: Final = 'conformance is off: cluster = "none" in pipeline.toml'
_LOOK_SECONDS: Final = 1.0


def run_conformance(params: dict[str, Any]) -> Part:
    """Run the tests; see the module's docstring. A StageError carries the log and the reports there were by then."""
    if params["cluster"] == "none":
        return {"status": "SKIPPED", "reason": OFF, "outputs": {"total": 0, "failed": 0, "skipped": 0}}
    workspace = Path(params["workspace"])
    reports, log = workspace / "reports", workspace / "conformance.log"
    reports.mkdir()
    try:
        code = run_command(params, reports, log)
        return judge(code, reports) | {"artifacts": _artifacts(reports, log)}
    except StageError as error:
        error.part.setdefault("artifacts", _artifacts(reports, log))
        raise


def run_command(params: dict[str, Any], reports: Path, log: Path) -> int:
    """Run the command and return its exit code. Raises InfrastructureError when it cannot start or takes too long."""
    command, kubeconfig = list(params["command"]), Path(params["kubeconfig"])
    if not command or shutil.which(command[0]) is None:
        raise InfrastructureError(
            f"the conformance command {clean(' '.join(command[:1])) or '(empty)'} is not installed here"
        )
    if not kubeconfig.is_file():
        raise InfrastructureError(f"the kubeconfig {kubeconfig} does not exist")
    given = {"KUBECONFIG": str(kubeconfig), "REPORT_DIR": str(reports), "IMAGE": params["image"]}
    seconds = float(params["limits"]["seconds"])
    progress = Progress(log, Path(params["workspace"]) / PROGRESS_NAME)
    with log.open("wb") as output:
        return _wait(_start(command, params["workspace"], given, output), seconds, progress)


def _start(command: list[str], folder: str, given: dict[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | given,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise InfrastructureError(f"the conformance command cannot be started: {error.strerror}") from error


def _wait(process: subprocess.Popen[bytes], seconds: float, progress: Progress) -> int:
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=min(_LOOK_SECONDS, end - time.monotonic()))
            progress.look()
        raise InfrastructureError(f"the conformance command was stopped after {seconds:.0f} seconds")
    finally:
        # Whatever it left running in its session goes with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        progress.look()


def judge(code: int, reports: Path) -> Part:
    """Return the verdict of the reports and the exit code.

    Raises InfrastructureError unless both together make sense as a test run.
    """
    files = [path for path in regular_files(reports) if path.suffix == ".xml"]
    if not files:
        raise InfrastructureError(f"the conformance command (exit code {code}) left no JUnit file in REPORT_DIR")
    reports_read = [_read(path) for path in files]
    part = verdict([test for one in reports_read for test in one.tests], "conformance")
    part["outputs"]["skipped"] = sum(one.skipped for one in reports_read)
    if claims := [one.claim for one in reports_read if one.claim]:
        raise InfrastructureError(f"conformance did not run as it should: {claims[0]}", part)
    if part["outputs"]["total"] == 0:
        raise InfrastructureError("no conformance test was executed: all were skipped or there were none", part)
    if code != 0 and part["status"] == "SUCCESS":
        raise InfrastructureError(f"the conformance command ended with exit code {code} although no test failed", part)
    return part


def _read(path: Path) -> Junit:
    try:
        return read_junit(path, with_class=False, with_skipped=False)
    except StageError as error:
        # Not the package's fault here: the report is the operator's command's.
        raise InfrastructureError(str(error)) from error


def _artifacts(reports: Path, log: Path) -> list[dict[str, str]]:
    found = [{"path": str(log), "kind": "log"}] if log.is_file() else []
    return found + [{"path": str(path), "kind": "junit"} for path in regular_files(reports) if path.suffix == ".xml"]


if __name__ == "__main__":
    run_module(ARGUMENTS, run_conformance)
