"""Processes that outlived their stage: found by the workspace they were started with, and ended."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from typing import Final

import psutil

from ci_pipeline import store
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BY_NAME
from ci_pipeline.store import runs

# A stage that has just reported is still folding up.
_FOLDING_UP_SECONDS: Final = 15
_WORKSPACE: Final = r"/runs/(?P<dag>[^/]+)/(?P<run>[^/]+)/(?P<stage>[a-z_]+)-(?P<try>\d+)/"


def end_all(settings: Settings) -> list[tuple[str, str]]:
    """End the playbooks of stages that have ended, with all they started.

    Returns:
        Run id and a sentence, for each playbook that was ended.
    """
    found = []
    for process, workspace in _playbooks(settings):
        run, stage = workspace["run"], workspace["stage"]
        if _is_over(workspace) and _end(process):
            found.append((run, f"ended process {process.pid}, a playbook that outlived {stage}"))
    return found


def _playbooks(settings: Settings) -> Iterator[tuple[psutil.Process, re.Match[str]]]:
    """Yield the playbooks of this pipeline's state folder that run on this machine, oldest first."""
    ours = re.compile(re.escape(str(settings.state)) + _WORKSPACE)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            old_enough = time.time() - process.create_time() > _FOLDING_UP_SECONDS
            workspace = next((ours.search(word) for word in process.cmdline() if word.startswith("@")), None)
            if workspace and old_enough and os.getpgid(process.pid) == process.pid:
                yield process, workspace


def _is_over(workspace: re.Match[str]) -> bool:
    with store.session() as session:
        run = runs.find(session, workspace["dag"], workspace["run"])
        if run is None or workspace["stage"] not in BY_NAME:
            return True
        tries = {result.try_number: result for result in run.results if result.stage == workspace["stage"]}
        this = tries.get(int(workspace["try"]))
        return this is None or this.status is not None


def _end(process: psutil.Process) -> bool:
    """Kill a playbook's process group; sandboxes and virtual machines die with their parent."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
