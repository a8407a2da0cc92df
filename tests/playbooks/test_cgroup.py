"""Control groups of version 2, as folders and files; machines with version 1 cannot have them together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ansible.module_utils import ci_cgroup
from ansible.module_utils.ci_cgroup import Unified

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def hierarchy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a hierarchy; we are in its group app.slice/service/run."""
    root = tmp_path / "cgroup"
    for folder in (root, root / "app.slice", root / "app.slice" / "service", root / "app.slice" / "service" / "run"):
        folder.mkdir()
        (folder / "cgroup.controllers").write_text("cpu memory pids\n")
        (folder / "cgroup.procs").write_text("")
        # One that has processes refuses to be written to.
        (folder / "cgroup.subtree_control").mkdir()
    monkeypatch.setattr(ci_cgroup, "_mount", lambda kind, *_: (root, "/") if kind == "cgroup2" else None)
    monkeypatch.setattr(ci_cgroup, "_own_folder", lambda *_: folder)
    monkeypatch.setattr(ci_cgroup, "_GONE_SECONDS", 0)
    return root


def allow(folder: Path) -> None:
    """Have a group take limits for its subgroups."""
    (folder / "cgroup.subtree_control").rmdir()
    (folder / "cgroup.subtree_control").write_text("")


def test_without_a_group_that_takes_limits_there_is_none(hierarchy: Path) -> None:
    """Neither ours nor one above."""
    assert ci_cgroup.find() is None


@pytest.mark.parametrize("lacking", ["cgroup.controllers", "cgroup.procs"])
def test_a_group_without_what_it_takes_is_passed_over(hierarchy: Path, lacking: str) -> None:
    """The controllers of memory and processes, and the right to move processes."""
    allow(hierarchy)
    allow(hierarchy / "app.slice")
    if lacking == "cgroup.controllers":
        (hierarchy / "app.slice" / lacking).write_text("cpu memory\n")
    else:
        (hierarchy / "app.slice" / lacking).unlink()
    found = ci_cgroup.find()

    assert found
    assert [folder.parent for folder in found.folders] == [hierarchy]


def test_the_nearest_group_is_taken(hierarchy: Path) -> None:
    """So that what limits the service limits its sandboxes, too."""
    allow(hierarchy)
    allow(hierarchy / "app.slice")
    found = ci_cgroup.find()

    assert found
    assert [folder.parent for folder in found.folders] == [hierarchy / "app.slice"]
    assert (hierarchy / "app.slice" / "cgroup.subtree_control").read_text() == "+memory +pids\n"


@pytest.mark.parametrize(
    ("events", "over_memory_and_killed"),
    [("oom 0\noom_kill 0", (False, False)), ("oom 0\noom_kill 1", (False, True)), ("oom 2\noom_kill 1", (True, True))],
    ids=["nothing", "the builder's", "its own"],
)
def test_limits_are_written_and_counters_read(
    hierarchy: Path, events: str, over_memory_and_killed: tuple[bool, bool]
) -> None:
    """A kill without the limit reached is the builder's. Swap would be memory without a limit."""
    group = Unified([hierarchy])
    with group.made(64, 30):
        folder = group.folders[0]
        (folder / "memory.events").write_text(f"low 0\nhigh 0\nmax 9\n{events}\noom_group_kill 0\n")
        (folder / "pids.events").write_text("max 3\n")

    assert (group.over_memory, group.killed) == over_memory_and_killed
    assert group.over_processes
    limits = {path.name: path.read_text() for path in folder.glob("*.max")}
    assert limits == {"memory.max": f"{64 << 20}\n", "memory.swap.max": "0\n", "pids.max": "32\n"}
