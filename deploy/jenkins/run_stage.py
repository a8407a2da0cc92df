#!/usr/bin/env python3
"""Carry out one stage on a Jenkins agent: `run_stage.py REQUEST`, in the workspace of the build.

REQUEST is a file with the JSON object of docs/stage-contract.md; whoever may build the job can have written it. The
stage's playbook of this checkout is run with it. result.json, and the files that it names in the stage's workspace, are
left in `archive/`, for Jenkins to archive from there. Exit code 0: SUCCESS or SKIPPED; 3: UNSTABLE; any other: FAILURE.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path, PurePosixPath
from typing import Any, Final

PROJECT: Final = Path(__file__).resolve().parents[2]
ARCHIVE: Final = Path("archive")
RESULT: Final = "result.json"
CODES: Final = {"SUCCESS": 0, "SKIPPED": 0, "UNSTABLE": 3}  # 1 and 2 are of Python and the shell

# What the playbook may know of the build. Jenkins' credentials and addresses stay out; by its cookies Jenkins finds
# what is left of an aborted build.
_PASSED_ON: Final = (
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "JENKINS_NODE_COOKIE",
    "JENKINS_SERVER_COOKIE",
)
# As the pipeline's own executor: past the limit a playbook gets this long to report.
_GRACE_SECONDS: Final = 30
_END_SECONDS: Final = 10
_LOOK_SECONDS: Final = 0.2
_MOST_RESULT: Final = 32 << 20
_LONGEST_LIMIT: Final = 7 * 24 * 3600


class Refused(Exception):  # noqa: N818 - it reads as what happened
    """The request is not one that can be carried out. The text says why."""


def main() -> int:
    """Carry the stage out; return the exit code."""
    shutil.rmtree(ARCHIVE, ignore_errors=True)
    ARCHIVE.mkdir()
    try:
        request = read_request(Path(sys.argv[1]))
    except (Refused, OSError, IndexError) as error:
        print(f"run_stage: {error}", file=sys.stderr)
        return 1
    workspace = Path(request["workspace"])
    was_there = workspace.exists()
    try:
        play(request, workspace)
        return CODES.get(collect(workspace), 1)
    finally:
        if not was_there:
            # A folder of the pipeline's that is not shared with this agent: nobody else would remove it.
            shutil.rmtree(workspace, ignore_errors=True)


def read_request(path: Path) -> dict[str, Any]:
    """Return a request as far as this program acts on it.

    Raises:
        Refused: it names no stage of ours, no folder or no limit.
    """
    try:
        request = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Refused("the request is not JSON; the job's parameter REQUEST has to be that of a stage") from error
    if not isinstance(request, dict):
        raise Refused("the request is no JSON object")
    stage, workspace = str(request.get("stage")), str(request.get("workspace"))
    if not re.fullmatch(r"[a-z]+(_[a-z]+)*", stage) or not playbook_of(stage).is_file():
        raise Refused(f"there is no playbook for the stage {stage[:100]!r}")
    if not workspace.startswith("/") or ".." in PurePosixPath(workspace).parts or "\0" in workspace:
        raise Refused(f"the workspace {workspace[:300]!r} is no absolute path")
    limits = request.get("limits")
    seconds = limits.get("seconds") if isinstance(limits, dict) else None
    if type(seconds) is not int or not 0 < seconds <= _LONGEST_LIMIT:
        raise Refused("limits.seconds of the request is no number of seconds")
    return request


def playbook_of(stage: str) -> Path:
    """Return the playbook of a stage."""
    return PROJECT / "playbooks" / f"{stage}.yml"


def play(request: dict[str, Any], workspace: Path) -> None:
    """Run the playbook, in a process group of its own, as long as the stage may take."""
    workspace.mkdir(parents=True, exist_ok=True)
    for name in (RESULT, "progress"):
        (workspace / name).unlink(missing_ok=True)
    asked = workspace / "request.json"
    asked.write_text(json.dumps(request, indent=2), encoding="utf-8")
    command = ["ansible-playbook", "--extra-vars", f"@{asked}", str(playbook_of(request["stage"]))]
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    until = time.monotonic() + request["limits"]["seconds"] + _GRACE_SECONDS
    playbook = subprocess.Popen(command, env=environment(), start_new_session=True, stdin=subprocess.DEVNULL)
    while playbook.poll() is None and not stopped.wait(_LOOK_SECONDS) and time.monotonic() < until:
        pass
    if playbook.poll() is None:
        why = "the build was aborted" if stopped.is_set() else "the stage used up its time (limits.seconds)"
        print(f"run_stage: {why}", file=sys.stderr)
        end(playbook)


def environment() -> dict[str, str]:
    """Return what the playbook starts with: the Ansible of this checkout, whatever the agent's PATH."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    path = f"{PROJECT / '.venv' / 'bin'}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
    return {**passed_on, "PATH": path, "ANSIBLE_CONFIG": str(PROJECT / "playbooks" / "ansible.cfg")}


def end(playbook: subprocess.Popen[bytes]) -> None:
    """End a playbook and all it started: it may report, for some seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(playbook.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            playbook.wait(timeout=_END_SECONDS)


def collect(workspace: Path) -> str:
    """Put the result, and the files it names in the workspace, where Jenkins archives them; return its status."""
    try:
        data = read_regular_file(workspace / RESULT)
    except OSError as error:
        print(f"run_stage: the stage left no {RESULT}: {error.strerror}", file=sys.stderr)
        return ""
    (ARCHIVE / RESULT).write_bytes(data)
    try:
        result = json.loads(data)
        status, artifacts = str(result["status"]), list(result.get("artifacts") or [])
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""  # whoever reads it says what is wrong with it
    for artifact in artifacts:
        keep(artifact, workspace)
    print(f"run_stage: {status}: {result.get('reason') or 'all good'}")
    return status


def keep(artifact: Any, workspace: Path) -> None:
    """Copy a file of the workspace into the archive, under its own name. What is elsewhere is shared, or not ours."""
    path = PurePosixPath(str(artifact.get("path") if isinstance(artifact, dict) else ""))
    if ".." in path.parts or not path.is_relative_to(workspace) or path == PurePosixPath(workspace):
        return
    target = ARCHIVE / path.relative_to(workspace)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open_regular_file(Path(path)) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    except OSError as error:
        print(f"run_stage: {path} is not archived: {error.strerror}", file=sys.stderr)


def read_regular_file(path: Path) -> bytes:
    """Return the content of a file, as far as it counts. Raises OSError."""
    with open_regular_file(path) as file:
        return file.read(_MOST_RESULT + 1)


def open_regular_file(path: Path) -> Any:
    """Open a file that package code could have put there: no symlink is followed, no pipe waited for.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(0, "it is no regular file", str(path))
    return file


if __name__ == "__main__":
    sys.exit(main())
