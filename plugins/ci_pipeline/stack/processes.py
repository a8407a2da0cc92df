"""Which processes belong to a stack, and how the last of them are ended.

Every process of a stack inherits a marker in its environment. One that clears its environment is found as a descendant:
the process manager adopts orphans (see `daemon`), so nothing leaves its tree.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from ci_pipeline import process_table
from ci_pipeline.errors import StackError

# Deliberately not in stack.env: whoever sources that file into a shell must not become part of the stack.
MARKER: Final = "PROCESS_OF_CI_PIPELINE_STACK"
COMPONENT: Final = "COMPONENT_OF_CI_PIPELINE_STACK"


def of_stack(state: Path, *, component: str = "") -> list[psutil.Process]:
    """Return the live processes of the stack with this state folder, never ourselves or our ancestors.

    Args:
        state: the folder.
        component: only those of one of its components.
    """
    marks = {MARKER: str(state)} | ({COMPONENT: component} if component else {})
    everyone = [process for process in process_table.everyone() if _is_alive(process)]
    children: dict[int, list[psutil.Process]] = defaultdict(list)
    for process in everyone:
        children[_parent(process)].append(process)
    spared = {process.pid for process in (psutil.Process(), *psutil.Process().parents())}
    found: dict[int, psutil.Process] = {}
    for process in everyone:
        if process.pid not in spared and marks.items() <= _environment(process).items():
            found.update({member.pid: member for member in _family(process, children)})
    return [process for pid, process in found.items() if pid not in spared]


def end(processes: Collection[psutil.Process], patience: float = 10) -> None:
    """End processes: ask the topmost ones, which end their children; kill what is left after `patience` seconds.

    Raises:
        StackError: one is still there.
    """
    pids = {process.pid for process in processes}
    for process in processes:
        if _parent(process) not in pids:
            _send(process, "terminate")
    _, alive = psutil.wait_procs(processes, timeout=patience)
    for process in alive:
        _send(process, "kill")
    _, alive = psutil.wait_procs(alive, timeout=5)
    stuck = [str(process.pid) for process in alive if _is_alive(process)]
    if stuck:
        msg = f"processes {', '.join(stuck)} of the stack do not end; look at them with `ps` and end them by hand"
        raise StackError(msg)


def _family(process: psutil.Process, children: dict[int, list[psutil.Process]]) -> Iterator[psutil.Process]:
    yield process
    for child in children[process.pid]:
        yield from _family(child, children)


def _send(process: psutil.Process, what: str) -> None:
    # psutil compares the start time first, so a pid that was given to a stranger meanwhile is safe.
    with suppress(psutil.NoSuchProcess):
        getattr(process, what)()


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.Error:
        return 0


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        found: dict[str, str] = process.environ()
    except (psutil.Error, OSError):
        return {}
    return found


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
