"""Processes that outlived their stage are ended, and nothing else is. All of them are real."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ci_pipeline import orphans, store
from ci_pipeline.executors.jenkins_place import Place, PlaceFile
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import leases, runs
from ci_pipeline.store.tables import Run
from tests.makers import new_run, play

pytestmark = pytest.mark.usefixtures("database")
Start = Callable[..., psutil.Popen]
SLEEP = "import time; time.sleep(600)"
BWRAP = ("bwrap", "--dev-bind", "/", "/", "--unshare-pid")
NEWEST_PID = Path("/proc/sys/kernel/ns_last_pid")
QEMU = ("qemu-system-x86_64", "-S", "-nodefaults", "-display", "none", "-machine", "none")


@pytest.fixture
def over(current: Settings) -> Run:
    """A run whose build has ended."""
    run = new_run()
    play(current, run, Status.FAILURE)
    return run


@pytest.fixture
def going_on(current: Settings) -> Run:
    """A run whose second try of the build is at work."""
    run = new_run(rev="1" * 40)
    with store.session() as session:
        Journal(session, current).begin_stage(runs.locked(session, run.id), BUILD_PACKAGE, 2)
    return run


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a program in a session of its own, as those of stages are; old enough to be looked at."""
    monkeypatch.setattr(orphans, "_FOLDING_UP_SECONDS", 0)
    started: list[psutil.Popen] = []

    def begin(*argv: str) -> psutil.Popen:
        started.append(psutil.Popen(argv, start_new_session=True, stdout=subprocess.DEVNULL))
        return started[-1]

    yield begin
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in process.children(recursive=True):
                child.kill()
            process.kill()
        process.wait()


def start_as(pid: int, start: Start, *argv: str) -> psutil.Popen:
    """Start a program as the process with a number that is free. Others on the machine may take it first."""
    for _ in range(200):
        NEWEST_PID.write_text(str(pid - 1))
        if (process := start(*argv)).pid == pid:
            return process
        process.kill()
        process.wait()
    raise AssertionError(f"no process could be started as {pid}")


def workspace(settings: Settings, run: Run, try_number: int = 1) -> Path:
    """Return the workspace of a try of a run's build, with a log in it."""
    folder = settings.state / "runs" / run.dag_id / run.run_id / f"build_package-{try_number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "console.log").touch()
    return folder


def like_a_playbook(folder: Path) -> tuple[str, ...]:
    """Return the command line of what looks like a playbook at work in a workspace."""
    return (sys.executable, "-c", SLEEP, f"@{folder}/request.json")


def like_a_sandbox(folder: Path) -> tuple[str, ...]:
    """Return the command line of a sandbox there that does not die with its parent."""
    return (*BWRAP, "--bind", str(folder), str(folder), "sleep", "600")


def like_a_machine(folder: Path) -> tuple[str, ...]:
    """Return the command line of a virtual machine that does nothing, with its console there."""
    return (*QEMU, "-chardev", f"file,id=console,path={folder}/console.log")


WORKERS = pytest.mark.parametrize(
    ("like", "kind"),
    [(like_a_playbook, "a playbook"), (like_a_sandbox, "a sandbox"), (like_a_machine, "a virtual machine")],
    ids=["playbook", "sandbox", "machine"],
)


@WORKERS
def test_what_outlived_its_stage_is_ended(
    current: Settings, over: Run, start: Start, like: Callable[[Path], tuple[str, ...]], kind: str
) -> None:
    """It is named with its stage."""
    orphan = start(*like(workspace(current, over)))
    said = orphans.end_all(current)
    orphan.wait(timeout=10)

    assert (over.run_id, f"ended process {orphan.pid}, {kind} that outlived build_package") in said
    assert orphans.end_all(current) == []


@WORKERS
def test_what_works_for_a_live_try_is_left_alone(
    current: Settings, going_on: Run, start: Start, like: Callable[[Path], tuple[str, ...]], kind: str
) -> None:
    """What is left of the try before it is not."""
    working = start(*like(workspace(current, going_on, 2)))
    left_over = start(*like(workspace(current, going_on, 1)))
    orphans.end_all(current)
    left_over.wait(timeout=10)

    assert working.is_running()
    assert working.status() != psutil.STATUS_ZOMBIE


@WORKERS
def test_what_a_jenkins_build_of_an_earlier_try_started_is_left_alone(
    current: Settings, going_on: Run, start: Start, like: Callable[[Path], tuple[str, ...]], kind: str
) -> None:
    """The agent may be this machine. The next try goes on with the build, in the folder of the first."""
    folder = workspace(current, going_on, 1)
    file = PlaceFile.of(folder, "build_package")
    file.write(Place.of({"workspace": str(folder)}, "ci-pipeline-build_package"))
    working, left_over = start(*like(folder)), start(*like(workspace(current, going_on, 0)))
    orphans.end_all(current)
    left_over.wait(timeout=10)

    assert working.is_running()
    assert working.status() != psutil.STATUS_ZOMBIE

    file.forget()
    orphans.end_all(current)
    working.wait(timeout=10)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may say which number the next process gets")
def test_a_number_that_another_process_had_hides_nothing(current: Settings, over: Run, start: Start) -> None:
    """Numbers come again: on a busy machine within the hour."""
    first = start("sleep", "600")
    orphans.end_all(current)
    first.kill()
    first.wait()
    orphan = start_as(first.pid, start, *like_a_machine(workspace(current, over)))
    orphans.end_all(current)

    assert orphan.wait(timeout=10) < 0


def test_what_an_orphan_started_ends_with_it(current: Settings, over: Run, start: Start, tmp_path: Path) -> None:
    """Also where it has left its process group, as Ansible's workers do."""
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}], start_new_session=True)"
    orphan = start(sys.executable, "-c", inner, f"@{workspace(current, over)}/request.json")
    while not (children := orphan.children()):
        assert orphan.poll() is None
    orphans.end_all(current)
    _, alive = psutil.wait_procs(children, timeout=10)

    assert alive == []


def test_who_reads_a_log_is_left_alone(current: Settings, over: Run, start: Start) -> None:
    """As is an editor, and whatever else no stage starts."""
    log = f"{workspace(current, over)}/console.log"
    strangers = [start("tail", "-f", log), start(sys.executable, "-c", SLEEP, log)]

    assert orphans.end_all(current) == []
    assert [one.poll() for one in strangers] == [None, None]


def test_another_pipelines_are_left_alone(current: Settings, over: Run, start: Start, tmp_path: Path) -> None:
    """Its state folder may end in the same words as ours."""
    elsewhere = tmp_path / str(workspace(current, over)).lstrip("/")
    elsewhere.mkdir(parents=True)
    strangers = [start(*like(elsewhere)) for like in (like_a_playbook, like_a_sandbox, like_a_machine)]

    assert orphans.end_all(current) == []
    assert [one.poll() for one in strangers] == [None, None, None]


def test_what_has_just_begun_is_left_alone(
    current: Settings, over: Run, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage that has just reported is still folding up."""
    monkeypatch.setattr(orphans, "_FOLDING_UP_SECONDS", 600)
    folding = start(*like_a_sandbox(workspace(current, over)))

    assert orphans.end_all(current) == []
    assert folding.poll() is None


def cluster_of(settings: Settings, run: Run) -> Path:
    """Return the folder of a run's cluster, with a console in it."""
    folder = settings.state / "runs" / run.dag_id / run.run_id / "cluster"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "console.log").touch()
    return folder


IN_A_CLUSTER = pytest.mark.parametrize(
    ("like", "kind"), [(like_a_playbook, "a program"), (like_a_machine, "a virtual machine")], ids=["suite", "machine"]
)


@IN_A_CLUSTER
def test_what_works_in_a_cluster_without_a_lease_is_ended(
    current: Settings, going_on: Run, start: Start, like: Callable[[Path], tuple[str, ...]], kind: str
) -> None:
    """Though its run goes on: whoever tore the cluster down has missed it."""
    orphan = start(*like(cluster_of(current, going_on)))
    said = orphans.end_all(current)
    orphan.wait(timeout=10)

    assert (going_on.run_id, f"ended process {orphan.pid}, {kind} that outlived its cluster") in said


@IN_A_CLUSTER
def test_a_cluster_outlives_the_stage_that_made_it(
    current: Settings, over: Run, start: Start, like: Callable[[Path], tuple[str, ...]], kind: str
) -> None:
    """As long as its run holds the lease."""
    with store.session() as session:
        leases.acquire(session, name=leases.cluster_of("f26", current.conformance), run=over.id)
    working = start(*like(cluster_of(current, over)))

    assert orphans.end_all(current) == []
    assert working.is_running()
    assert working.status() != psutil.STATUS_ZOMBIE
