"""What all that runs in a sandbox may use together: each limit is hit by real processes, and each says so."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from ansible.module_utils import ci_cgroup
from ansible.module_utils.ci_bounds import NO_CGROUP
from ansible.module_utils.ci_rootbox import RootSandbox
from ansible.module_utils.ci_sandbox import Finished, Sandbox
from ansible.module_utils.ci_stage import InfrastructureError, OverrunError

from tests.playbooks.stage_runs import LIMITS, PLAYBOOKS
from tests.processes import goes_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SMALL = LIMITS | {"seconds": 60, "memory_mb": 128, "disk_mb": 64, "processes": 24}
MEMORY = "used more than 128 MB of memory in all \\(limits.memory_mb\\)"
PROCESSES = "wanted more than 24 processes at a time \\(limits.processes\\)"
FILES = "wrote more than 64 MB of files in all \\(limits.disk_mb\\)"
HOG = "held = [bytearray(1 << 20) for _ in range(200)]"
FAMILY = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        held = bytearray(60 << 20)
        time.sleep(2)
        os._exit(0)
raise SystemExit(max(os.wait()[1] for _ in range(3)) != 0)
"""
CROWD = "for i in $(seq 40); do sleep 30 & done"
REMOVED = """
import os, time
held = []
for _ in range(5):
    file = open("file", "wb+")
    os.unlink("file")
    file.write(bytes(20 << 20))
    file.flush()
    held.append({keep})
    file = None
time.sleep(5)
"""
EMPTY = """
import os
for number in range(16_500):
    os.close(os.open(str(number), os.O_CREAT))
"""
DEEP = """
import os
for _ in range(100):
    os.mkdir("folder" * 10)
    os.chdir("folder" * 10)
"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return the folder a sandbox can write to."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def run(tmp_path: Path, work: Path) -> Callable[..., Finished]:
    """Return a function that runs a command in a small sandbox."""

    def started(*command: str, kind: type[Sandbox] = Sandbox, **limits: int) -> Finished:
        sandbox = kind(tmp_path, SMALL | limits, writable={"/work": work}, folder="/work")
        return sandbox.run(command)

    return started


@pytest.fixture
def group() -> ci_cgroup.Cgroup:
    """Return the kind of control group there can be here; skip where there can be none."""
    found = ci_cgroup.find()
    if found is None:
        pytest.skip("no control group can be made here")
    return found


def groups(like: ci_cgroup.Cgroup, maker: int) -> set[Path]:
    """Return the control groups of sandboxes that a process has made; others make theirs beside them."""
    return {path for folder in like.folders for path in folder.parent.glob(f"ci-pipeline-*-{maker}-*")}


@contextlib.contextmanager
def short_of_memory(like: ci_cgroup.Cgroup) -> Iterator[list[Path]]:
    """Make a group of 64 MB for the block, below which others can be made; yield its folders."""
    above = type(like)([folder.parent for folder in like.folders])
    with above.made(64, 100):
        if above.version == "2":
            (above.folders[0] / "cgroup.subtree_control").write_text("+memory +pids")
        yield above.folders


@pytest.mark.parametrize("kind", [Sandbox, RootSandbox])
@pytest.mark.parametrize("code", [HOG, FAMILY], ids=["one process", "three processes"])
def test_memory_is_bounded_in_all(
    run: Callable[..., Finished], group: ci_cgroup.Cgroup, kind: type[Sandbox], code: str
) -> None:
    """Three processes of which each has little are as much as one that has all of it."""
    with pytest.raises(OverrunError, match=f"python3 and what it started {MEMORY}"):
        run("python3", "-c", code, kind=kind)


def test_files_in_memory_are_memory(run: Callable[..., Finished], group: ci_cgroup.Cgroup) -> None:
    """No folder of the sandbox's own takes all memory, and together they do not escape it."""
    fill = "for i in /tmp /dev/shm /var/tmp /builddir; do head -c 60M /dev/zero > $i/file || exit; done"
    one = run("sh", "-c", "cd /tmp; for i in 1 2 3; do head -c 30M /dev/zero > $i || exit; done")

    assert one.returncode != 0
    assert "No space left on device" in one.stderr
    with pytest.raises(OverrunError, match=MEMORY):
        run("sh", "-c", fill)


@pytest.mark.parametrize("kind", [Sandbox, RootSandbox])
def test_processes_are_bounded_in_all(
    run: Callable[..., Finished], group: ci_cgroup.Cgroup, kind: type[Sandbox]
) -> None:
    """As many as the limit says are allowed."""
    fine = run("sh", "-c", "for i in $(seq 23); do sleep 1 & done; wait", kind=kind)

    assert fine.returncode == 0, fine.stderr
    with pytest.raises(OverrunError, match=f"sh and what it started {PROCESSES}"):
        run("sh", "-c", CROWD, kind=kind)


def test_a_process_that_went_over_the_limit_and_did_without_may_succeed(
    run: Callable[..., Finished], group: ci_cgroup.Cgroup
) -> None:
    """A limit is what there is to use; a test that tries it out has not failed."""
    ran = run("sh", "-c", f"python3 -c '{HOG}' || exit 0")

    assert ran.returncode == 0


@pytest.mark.parametrize(
    "code",
    [
        "for n in range(5): open(f'{n}', 'wb').write(bytes(20 << 20))",
        "for n in range(5): open(f'{n}', 'wb').write(bytes(20 << 20))\nimport time; time.sleep(5)",
        REMOVED.format(keep="file"),
        EMPTY,
    ],
    ids=["at its end", "while it runs", "removed and open", "empty files"],
)
def test_files_are_bounded_in_all(run: Callable[..., Finished], code: str) -> None:
    """Each is smaller than the limit. What has no name any more counts, and every file counts as four kilobytes."""
    with pytest.raises(OverrunError, match=f"python3 and what it started {FILES}"):
        run("python3", "-c", code)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees what others have mapped")
def test_a_file_that_is_only_mapped_counts(run: Callable[..., Finished]) -> None:
    """It has neither a name nor a handle."""
    mapped = """
import mmap, os, time
held = []
for _ in range(5):
    file = os.open("file", os.O_RDWR | os.O_CREAT)
    os.unlink("file")
    os.write(file, bytes(20 << 20))
    address = ctypes.CDLL(None).mmap(None, 4096, 1, 1, file, 0)
    os.close(file)
time.sleep(5)
"""
    with pytest.raises(OverrunError, match=FILES):
        run("python3", "-c", "import ctypes" + mapped)


def test_what_was_there_and_shared_counts_once(run: Callable[..., Finished], work: Path) -> None:
    """A file of several names is one; a sparse one is what it takes."""
    code = "import os\nopen('a', 'wb').write(bytes(40 << 20))\nos.link('a', 'b')\nopen('c', 'wb').truncate(60 << 20)"
    ran = run("python3", "-c", code)

    assert ran.returncode == 0, ran.stderr
    assert (work / "b").stat().st_nlink == 2


def test_a_command_that_prints_without_end_is_stopped(run: Callable[..., Finished]) -> None:
    """Its output is a file, too."""
    with pytest.raises(OverrunError, match=r"of files in all|a file of more than 64 MB"):
        run("yes")


def test_folders_nested_too_deep_are_told(run: Callable[..., Finished], work: Path) -> None:
    """What they hold could not be counted. They come back to whom they belong all the same."""
    with pytest.raises(OverrunError, match="nested folders deeper than a path may be long"):
        run("python3", "-c", DEEP)

    owners = subprocess.run(["find", str(work), "-printf", "%U\n"], check=True, capture_output=True, text=True)
    assert set(owners.stdout.split()) == {str(os.geteuid())}


@pytest.mark.parametrize(
    "command",
    [
        ("sh", "-c", "head -c 65M /dev/zero > big; exit 3"),
        ("python3", "-c", "open('big', 'wb').write(bytes(65 << 20))"),
    ],
    ids=["signal", "error"],
)
def test_a_file_that_is_too_large_is_told(run: Callable[..., Finished], command: tuple[str, ...]) -> None:
    """Whether the program heeds the signal, as most do, or the error."""
    with pytest.raises(OverrunError, match=r"wrote a file of more than 64 MB|of files in all"):
        run(*command, memory_mb=512)


def test_processor_time_is_told(run: Callable[..., Finished]) -> None:
    """Also when it is a process below the command that took it."""

    class Quick(Sandbox):
        def cpu_seconds(self) -> int:
            return 1

    with pytest.raises(OverrunError, match="used more than 1 seconds of processor time in a process"):
        run("sh", "-c", "sh -c 'while :; do :; done'; exit 3", kind=Quick)


def test_a_builder_out_of_memory_is_not_the_packages_fault(
    run: Callable[..., Finished], group: ci_cgroup.Cgroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel killed a process of a group that had not used up its own memory: here, that of the group above."""
    with short_of_memory(group) as above:
        monkeypatch.setattr(ci_cgroup, "find", lambda: type(group)(above))
        with pytest.raises(InfrastructureError, match="the builder ran out of memory"):
            run("python3", "-c", HOG, memory_mb=1024)


def test_a_group_that_cannot_be_made_leaves_limits_for_each_process(
    run: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is said."""
    said: list[str] = []
    monkeypatch.setattr("ansible.module_utils.ci_bounds.warn", said.append)
    monkeypatch.setattr(ci_cgroup, "find", lambda: None)
    hog, crowd = run("python3", "-c", HOG), run("sh", "-c", f"[ $(id -u) = 0 ] || {{ {CROWD}; }}; exit 7")

    assert hog.returncode == 1
    assert "MemoryError" in hog.stderr
    assert crowd.returncode != 0
    assert said == [NO_CGROUP, NO_CGROUP]


def test_a_group_goes_with_its_sandbox(run: Callable[..., Finished], group: ci_cgroup.Cgroup) -> None:
    """Whatever way it ended."""
    run("true")
    run("sleep", "600", seconds=1)
    with pytest.raises(OverrunError):
        run("python3", "-c", HOG)

    assert not groups(group, os.getpid())


def test_a_group_whose_maker_was_killed_is_removed_by_the_next(
    run: Callable[..., Finished], group: ci_cgroup.Cgroup, tmp_path: Path
) -> None:
    """With what is still in it."""
    program = f"""
import sys
import ansible.module_utils
ansible.module_utils.__path__.append({str(PLAYBOOKS / "module_utils")!r})
from ansible.module_utils import ci_cgroup
import subprocess
group = ci_cgroup.find()
with group.made(64, 8):
    subprocess.run(group.joined_by(["sleep", "600"]))
"""
    maker = subprocess.Popen([sys.executable, "-c", program])
    inside = _wait_for(lambda: [one for one in psutil.Process(maker.pid).children() if one.name() == "sleep"])[0]
    left = groups(group, maker.pid)
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    run("true")

    assert left
    assert not groups(group, maker.pid)
    assert not goes_on(inside)


def _wait_for(found: Callable[[], Any], seconds: float = 30) -> Any:
    until = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return result
