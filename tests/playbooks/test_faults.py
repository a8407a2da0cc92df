"""Whose fault a failure is: missing and killed tools, networks that fail, sandboxes and machines that do not start."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import psutil
import pytest
from ansible.module_utils import ci_cgroup, ci_sandbox, ci_vm
from ansible.module_utils.ci_git import Clone
from ansible.module_utils.ci_lookaside import Lookaside, Source
from ansible.module_utils.ci_sandbox import Sandbox
from ansible.module_utils.ci_stage import InfrastructureError, PackageError
from ansible.module_utils.ci_vm import Vm

from ci_pipeline.outcome import Fault, Status
from tests.playbooks.stage_runs import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.playbooks.stage_runs import CarryOut, DistGit, RunStage

SPEC = """\
Name: hello
Version: 1.0
Release: 1
Summary: Says hello
License: MIT
BuildArch: noarch
%description
Says hello.
%check
{check}
%files
"""


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that takes tools from the PATH, or puts scripts in their place."""

    def make(*, without: str = "", **scripts: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        for path in [*Path("/usr/sbin").iterdir(), *Path("/usr/bin").iterdir()]:
            if path.name != without and path.name not in scripts and not (folder / path.name).is_symlink():
                (folder / path.name).symlink_to(path)
        for name, text in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return make


@pytest.fixture
def build(run_stage: RunStage, dist_git: DistGit, tmp_path: Path, only: Callable[..., None]) -> Callable[..., Any]:
    """Return a function that builds a good package with the tools that `only` leaves."""

    def run(**tools: str) -> dict[str, Any]:
        rev = dist_git.commit({"hello.spec": SPEC.format(check="true")})
        only(**tools)
        folders = {"package_repo": str(tmp_path / "repo"), "package_link": str(tmp_path / "link")}
        return run_stage("build_package", rev=rev, dist_git_url=dist_git.url, **folders)

    return run


@pytest.mark.parametrize("tool", ["git", "bwrap", "rpmbuild", "createrepo_c"])
def test_a_missing_tool_is_named(build: Callable[..., Any], tool: str) -> None:
    """With what to do about it."""
    result = build(without=tool)

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert result["reason"] == f"{tool} is not installed on this builder; install it"


def test_a_killed_tool_is_not_the_packages_fault(build: Callable[..., Any]) -> None:
    """The out-of-memory killer takes what is largest."""
    result = build(git="kill -9 $$")

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert result["reason"] == "signal 9 ended git; is the builder out of memory?"


def test_a_killed_module_is_not_the_packages_fault(build: Callable[..., Any]) -> None:
    """There is a result all the same, and its reason is more than that a module failed."""
    result = build(git="kill -9 $PPID")

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert result["reason"].startswith("a task of the stage broke off (exit code 137): ")


def test_a_hanging_check_ends_aborted(carry_out: CarryOut, dist_git: DistGit, tmp_path: Path) -> None:
    """The sandbox notices first; it counts like a stage that is ended from outside, and the build's log is kept."""
    rev = dist_git.commit({"hello.spec": SPEC.format(check="echo waiting; sleep 600")})
    folders = {"package_repo": str(tmp_path / "repo"), "package_link": str(tmp_path / "link")}
    limits = LIMITS | {"seconds": 8}
    report = carry_out("build_package", tmp_path / "try", rev=rev, dist_git_url=dist_git.url, limits=limits, **folders)

    assert (report.status, report.fault) == (Status.ABORTED, Fault.NONE)
    assert report.reason.startswith("the stage was ended: it used up its limit of 8 s (limits.seconds): ")
    assert [artifact.name for artifact in report.artifacts] == ["build.log"]


def test_a_dist_git_that_hangs_may_be_tried_again(carry_out: CarryOut, tmp_path: Path) -> None:
    """It is given up before the time of the stage is."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/rpms/hello"
        limits = LIMITS | {"seconds": 20}
        report = carry_out("build_package", tmp_path / "try", rev="0" * 40, dist_git_url=url, limits=limits)

    assert (report.status, report.fault) == (Status.FAILURE, Fault.INFRASTRUCTURE), report.reason
    assert report.reason == "git took more than 10 seconds for rpms/hello; is dist-git away?"


class Answer(BaseHTTPRequestHandler):
    """Answers as the test says: a status, a length and a body; no status: nonsense."""

    status: ClassVar[int]
    announced: ClassVar[int]
    body: ClassVar[bytes]
    hangs: ClassVar[threading.Event | None]

    def do_GET(self) -> None:
        if not self.status:
            self.wfile.write(b"nonsense\r\n\r\n")
            return
        self.send_response(self.status)
        self.send_header("Content-Length", str(self.announced))
        self.end_headers()
        self.wfile.write(self.body)
        self.wfile.flush()
        if self.hangs:
            self.hangs.wait(30)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def server(status: int, body: bytes = b"", announced: int | None = None, *, hangs: bool = False) -> Iterator[str]:
    """Run a web server that gives this answer; yield its URL."""
    over = threading.Event()
    length = len(body) if announced is None else announced
    fields = {"status": status, "body": body, "announced": length, "hangs": over if hangs else None}
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Fixed", (Answer,), fields)) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        over.set()
        http.shutdown()
        thread.join()


def fetch(url: str, folder: Path, content: bytes = b"whole") -> Path:
    """Fetch a source of this content from a look-aside cache."""
    cache = Lookaside(url, "rpms", "hello", seconds=2, size_limit=1 << 20)
    return cache.fetch(Source("data.txt", "sha512", hashlib.sha512(content).hexdigest()), folder)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 503}, "the look-aside cache answers 503 for data.txt"),
        ({"status": 0}, "the look-aside cache cannot be read: nonsense"),
        ({"status": 200, "body": b"who", "announced": 5}, "data.txt did not come whole .*: 3 of 5 bytes came"),
        ({"status": 200, "body": b"who", "announced": 5, "hangs": True}, "data.txt did not come whole .*: timed out"),
    ],
    ids=["overloaded", "nonsense", "cut off", "stalled"],
)
def test_a_lookaside_that_fails_is_not_the_packages_fault(tmp_path: Path, answer: dict[str, Any], reason: str) -> None:
    """Half a file is not one with a wrong checksum."""
    with server(**answer) as url, pytest.raises(InfrastructureError, match=reason):
        fetch(url, tmp_path)


@pytest.mark.parametrize("answer", [{"status": 404}, {"status": 200, "body": b"other"}], ids=["absent", "another"])
def test_a_source_that_is_not_there_is_the_packages_fault(tmp_path: Path, answer: dict[str, Any]) -> None:
    """As is one with another content than `sources` says, whole."""
    with server(**answer) as url, pytest.raises(PackageError):
        fetch(url, tmp_path)


@pytest.mark.parametrize(
    ("status", "error"), [(404, PackageError), (503, InfrastructureError)], ids=["absent", "overloaded"]
)
def test_a_clone_fails_for_whom_it_should(tmp_path: Path, status: int, error: type[Exception]) -> None:
    """No such repository is the packager's; a dist-git in trouble is not."""
    with server(status) as url, pytest.raises(error, match="rpms/hello"):
        Clone(tmp_path / "git", f"{url}/rpms/hello", "rpms/hello", seconds=20, size_limit=1 << 20).fetch()


def test_a_sandbox_that_cannot_be_made_is_not_the_commands_failure(tmp_path: Path) -> None:
    """Bubblewrap's own words are in the reason."""
    sandbox = Sandbox(tmp_path, LIMITS, readable={"/data": tmp_path / "nothing"})

    with pytest.raises(InfrastructureError, match="the sandbox could not be made, or was killed: bwrap: Can't find"):
        sandbox.run(["true"])


def test_a_tool_the_sandbox_lacks_is_named(tmp_path: Path) -> None:
    """It would look like a command that failed."""
    with pytest.raises(InfrastructureError, match="no-such-tool is not installed on this builder"):
        Sandbox(tmp_path, LIMITS).run(["no-such-tool"])


def _is_sandbox(process: psutil.Process) -> bool:
    try:
        return process.name() == "bwrap"
    except psutil.NoSuchProcess:
        return False


def test_a_killed_sandbox_is_not_the_commands_failure(tmp_path: Path) -> None:
    """Nothing in it could have done that."""

    def kill_once_started() -> None:
        while not (found := [one for one in psutil.Process().children() if _is_sandbox(one)]):
            pass
        while not found[0].children(recursive=True):
            pass
        found[0].kill()

    killer = threading.Thread(target=kill_once_started)
    killer.start()
    with pytest.raises(InfrastructureError, match="the sandbox could not be made, or was killed"):
        Sandbox(tmp_path, LIMITS).run(["sleep", "60"])
    killer.join()


def test_a_command_killed_in_a_sandbox_failed_itself(tmp_path: Path) -> None:
    """As long as the builder has memory."""
    ran = Sandbox(tmp_path, LIMITS).run(["sh", "-c", "kill -9 $$"])

    assert (ran.returncode, ran.timed_out) == (137, False)


def test_a_command_that_failed_while_memory_ran_out_is_acquitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel counts what it kills for want of memory; without a control group nobody knows whom."""
    counts = iter([3, 4])
    monkeypatch.setattr(ci_sandbox, "memory_kills", lambda: next(counts))
    monkeypatch.setattr(ci_cgroup, "find", lambda: None)

    with pytest.raises(InfrastructureError, match="the builder ran out of memory"):
        Sandbox(tmp_path, LIMITS).run(["sh", "-c", "kill -9 $$"])


def test_a_machine_without_qemu_says_what_to_install(
    run_stage: RunStage, tmp_path: Path, only: Callable[..., None]
) -> None:
    """The image is not at fault."""
    request = blank_image(tmp_path)
    only(without="qemu-system-x86_64")
    result = run_stage("smoke_test", **request)

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert result["reason"] == "qemu-system-x86_64 is not installed on this builder; install it"


def blank_image(folder: Path) -> dict[str, str]:
    """Make an empty image and return the request of its smoke test."""
    image = folder / "blank.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "64M"], check=True)
    sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
    return {"image_dir": str(folder), "image_name": image.name, "image_sha256": sha256, "compose_rev": "0" * 64}


def test_a_disk_qemu_cannot_open_is_told_in_its_words(run_stage: RunStage, tmp_path: Path) -> None:
    """The machine never began to boot."""
    (tmp_path / "odd.qcow2").write_bytes(b"no image")
    sha256 = hashlib.sha256(b"no image").hexdigest()
    request = {"image_dir": str(tmp_path), "image_name": "odd.qcow2", "image_sha256": sha256, "compose_rev": "0" * 64}
    result = run_stage("smoke_test", **request)

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert result["reason"].startswith("QEMU could not run the virtual machine: ")
    assert "not in qcow2 format" in result["reason"]


@pytest.mark.parametrize(
    ("ending", "error"),
    [("exit 0", PackageError), ("exit 1", InfrastructureError), ("kill -9 $$", InfrastructureError)],
    ids=["guest stopped", "QEMU failed", "killed"],
)
def test_a_machine_that_ends_while_it_boots_fails_for_whom_it_should(
    tmp_path: Path, only: Callable[..., None], monkeypatch: pytest.MonkeyPatch, ending: str, error: type[Exception]
) -> None:
    """A guest that stops itself is the package's; a QEMU that fails, or is killed, is not."""
    script = f"for word; do case $word in file:*) echo booting >${{word#file:}};; esac; done; {ending}"
    only(**{"qemu-system-x86_64": script})
    # It would end the tests with whatever started them.
    monkeypatch.setattr(ci_vm, "end_with_ancestors", lambda: None)
    vm = Vm(tmp_path, [], 128)

    with pytest.raises(error), vm.running():
        vm.wait(lambda: False, 30)
