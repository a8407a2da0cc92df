"""Processes that outlived their stage or cluster: found by the folder on their command line, and ended.

Only programs a stage starts are looked at. Whoever reads a log there, or edits a file, is left alone.
"""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from typing import Final

import psutil

from ci_pipeline import process_table, store
from ci_pipeline.executors.jenkins_place import PlaceFile
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BY_NAME
from ci_pipeline.store import host_leases, leases, runs

# A stage that has just reported is still folding up.
_FOLDING_UP_SECONDS: Final = 15
_OF_A_RUN: Final = r"runs/(?P<dag>[^/]+)/(?P<run>[^/]+)/(?:cluster|(?P<stage>[a-z_]+)-(?P<try>\d+))"
_OF_A_LEASE: Final = r"leases/(?P<lease>[A-Za-z0-9][^/]*)"
_WORKSPACE: Final = rf"/(?:{_OF_A_RUN}|{_OF_A_LEASE})(?:/|$)"
# Names of programs, as prefixes.
_KINDS: Final = {"bwrap": "a sandbox", "qemu-system-": "a virtual machine"}
_PLAYBOOK: Final = "a playbook"
# What leads a group of processes there: a suite, a server.
_IN_A_CLUSTER: Final = {_PLAYBOOK: "a program"}


def end_all(settings: Settings) -> list[tuple[str, str]]:
    """End the playbooks, sandboxes and virtual machines of stages that have ended, with all they started.

    Returns:
        Run id, or that of a lease of hosts, and a sentence, for each that was ended.
    """
    found = []
    for process, kind, workspace in _at_work(settings):
        run, stage = workspace["run"] or workspace["lease"], workspace["stage"]
        if _is_over(settings, workspace) and process_table.end(process):
            outside = "its lease" if workspace["lease"] else "its cluster"
            what, home = (kind, stage) if stage else (_IN_A_CLUSTER.get(kind, kind), outside)
            found.append((run, f"ended process {process.pid}, {what} that outlived {home}"))
    return found


def _at_work(settings: Settings) -> Iterator[tuple[psutil.Process, str, re.Match[str]]]:
    """Yield what works in workspaces of this pipeline's state folder on this machine, oldest first, and what it is."""
    # Not the end of a longer path: /ci is not the state folder of what works in /srv/ci.
    ours = re.compile(r"(?<![\w./-])" + re.escape(str(settings.state)) + _WORKSPACE)
    for process in process_table.everyone():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            old_enough = time.time() - process.create_time() > _FOLDING_UP_SECONDS
            words = process.cmdline() if old_enough else []
            kind = _kind_of(process, words)
            # A playbook is told by its request; the others have the workspace in any of their words.
            telling = [word for word in words if kind != _PLAYBOOK or word.startswith("@")]
            workspace = next(filter(None, map(ours.search, telling)), None)
            if kind and workspace:
                yield process, kind, workspace


def _kind_of(process: psutil.Process, words: list[str]) -> str:
    """Return what a process is to a stage, `""` when it is nothing a stage starts."""
    name = process.name()
    kind = next((kind for program, kind in _KINDS.items() if name.startswith(program)), "")
    if kind:
        return kind
    leads = words and os.getpgid(process.pid) == process.pid
    return _PLAYBOOK if leads else ""


def _is_over(settings: Settings, workspace: re.Match[str]) -> bool:
    if workspace["stage"] and _has_a_build(settings, workspace):
        return False
    with store.session() as session:
        if workspace["lease"]:
            return not host_leases.is_lent(session, workspace["lease"])
        run = runs.find(session, workspace["dag"], workspace["run"])
        if run is not None and workspace["stage"] is None:
            return not leases.has_cluster(session, run=run.id)
        if run is None or workspace["stage"] not in BY_NAME:
            return True
        tries = {result.try_number: result for result in run.results if result.stage == workspace["stage"]}
        this = tries.get(int(workspace["try"]))
        return this is None or this.status is not None


def _has_a_build(settings: Settings, workspace: re.Match[str]) -> bool:
    """Tell whether a Jenkins build works there: a later try may go on with it. Jenkins ends what it started."""
    folder = settings.state / "runs" / workspace["dag"] / workspace["run"] / f"{workspace['stage']}-{workspace['try']}"
    place = PlaceFile.of(folder, workspace["stage"]).read()
    return place is not None and place.workspace == str(folder)
