#!/usr/bin/python
"""Run a Kubernetes conformance suite against a cluster and judge it by the JUnit files it leaves.

The suite is the operator's own: it gets KUBECONFIG, REPORT_DIR (where its JUnit belongs) and IMAGE (the image under
test), and runs outside of the sandbox. It takes hours, so it runs by itself: the module starts it, or finds the one
that runs, and looks at it for a moment; `again_in` says that it goes on. A run passes only when cases were executed and
all of them passed; skipped cases are counted, not listed (a conformance suite skips thousands).
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_background import Background
from ansible.module_utils.ci_cluster import use_programs_of
from ansible.module_utils.ci_junit import Junit, read_junit
from ansible.module_utils.ci_progress import PROGRESS_NAME, Progress
from ansible.module_utils.ci_results import Rule, regular_files, verdict
from ansible.module_utils.ci_stage import InfrastructureError, Part, StageError, clean, run_module

if TYPE_CHECKING:
    from collections.abc import Sequence

ARGUMENTS: Final[dict[str, Any]] = {
    "command": {"type": "list", "elements": "str", "default": []},
    "image": {"type": "str", "default": ""},
    "cluster_dir": {"type": "path", "required": True},
    "workspace": {"type": "path", "required": True},
    "look_seconds": {"type": "float", "required": True},
    "quarantine": {"type": "list", "elements": "dict", "default": []},
    "limits": {"type": "dict", "required": True},
}
LOG_NAME: Final = "conformance.log"
REPORTS_NAME: Final = "reports"
_POLL_SECONDS: Final = 0.25
# A suite that is nearly over is not worth another run of the playbook.
_ONE_LOOK_SECONDS: Final = 6.0


def run_conformance(params: dict[str, Any]) -> Part:
    """Start the suite or look at it; see the module's docstring. A StageError carries the log and the reports."""
    cluster, workspace = Path(params["cluster_dir"]), Path(params["workspace"])
    use_programs_of(cluster)
    suite = Background(cluster / "suite", LOG_NAME)
    if not suite.folder.exists():
        _start(suite, params, cluster / "kubeconfig")
    goes_on = _look(suite, Progress(suite.log, workspace / PROGRESS_NAME), float(params["limits"]["seconds"]))
    if goes_on:
        return {"again_in": params["look_seconds"], "seconds": suite.seconds}
    return _ended(suite, workspace / "suite", params)


def _start(suite: Background, params: dict[str, Any], kubeconfig: Path) -> None:
    command = list(params["command"])
    if not command or shutil.which(command[0]) is None:
        raise InfrastructureError(
            f"the conformance command {clean(' '.join(command[:1])) or '(empty)'} is not installed here"
        )
    if not kubeconfig.is_file():
        raise InfrastructureError(f"there is no cluster: the kubeconfig {kubeconfig} is gone; clear configure_cluster")
    reports = suite.folder / REPORTS_NAME
    reports.mkdir(parents=True)
    suite.start(command, {"KUBECONFIG": str(kubeconfig), "REPORT_DIR": str(reports), "IMAGE": params["image"]})


def _look(suite: Background, progress: Progress, limit: float) -> bool:
    """Look at the suite for a moment, or until it has ended or used up its time. Tell whether it goes on."""
    until = time.monotonic() + _ONE_LOOK_SECONDS
    while suite.is_running() and suite.seconds < limit and time.monotonic() < until:
        time.sleep(min(_POLL_SECONDS, max(limit - suite.seconds, 0)))
        progress.look()
    return suite.is_running() and suite.seconds < limit


def _ended(suite: Background, kept: Path, params: dict[str, Any]) -> Part:
    """Judge a suite that has ended, or end one whose time is over; what it left goes into the workspace."""
    told, over_time = {"seconds": suite.seconds, "tool_seconds": suite.seconds}, suite.is_running()
    suite.stop()
    code = suite.code
    shutil.rmtree(kept, ignore_errors=True)
    shutil.move(suite.folder, kept)
    suite, reports = Background(kept, LOG_NAME), kept / REPORTS_NAME
    try:
        if over_time:
            limit = params["limits"]["seconds"]
            raise InfrastructureError(f"the conformance command was stopped after {limit:.0f} seconds")
        if code is None:
            raise InfrastructureError("the conformance command was killed before it could end")
        return judge(code, reports, params["quarantine"]) | {"artifacts": _artifacts(reports, suite.log), **told}
    except StageError as error:
        error.part.setdefault("artifacts", _artifacts(reports, suite.log))
        error.part |= told
        raise


def judge(code: int, reports: Path, quarantine: Sequence[Rule]) -> Part:
    """Return the verdict of the reports and the exit code.

    Raises InfrastructureError unless both together make sense as a test run.
    """
    files = [path for path in regular_files(reports) if path.suffix == ".xml"]
    if not files:
        raise InfrastructureError(f"the conformance command (exit code {code}) left no JUnit file in REPORT_DIR")
    reports_read = [_read(path) for path in files]
    part = verdict([test for one in reports_read for test in one.tests], "conformance", quarantine)
    part["outputs"]["skipped"] = sum(one.skipped for one in reports_read)
    if claims := [one.claim for one in reports_read if one.claim]:
        raise InfrastructureError(f"conformance did not run as it should: {claims[0]}", part)
    if part["outputs"]["total"] == 0:
        raise InfrastructureError("no conformance test was executed: all were skipped or there were none", part)
    if code != 0 and part["status"] == "SUCCESS" and "quarantined" not in part["outputs"]:
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
