"""A builder with secrets on it, where packages are built, tested and composed as the pipeline has it done."""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ci_pipeline.errors import ExecutorError, StageEnded
from ci_pipeline.executors.ansible import AnsibleExecutor
from ci_pipeline.executors.report import Report, aborted, infrastructure_failure
from tests.hostile import escapes
from tests.hostile.specs import spec
from tests.playbooks.stage_runs import PLAYBOOKS, DistGit, common

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHECKOUT: Final = PLAYBOOKS.parent


@dataclass(frozen=True)
class Ended:
    """How a stage ended, and where it worked."""

    report: Report
    workspace: Path
    package_repo: Path

    @property
    def told(self) -> tuple[str, str, str]:
        """Status, fault and reason, the commit's id in it as `REV`."""
        report = self.report
        return str(report.status), str(report.fault), re.sub(r"\b[0-9a-f]{40}\b", "REV", report.reason)

    @property
    def outcomes(self) -> dict[str, tuple[str, str]]:
        """Outcome and message of each test, by name."""
        return {test.name: (str(test.outcome), test.message) for test in self.report.tests}


@dataclass
class Builder:
    """A builder. Everything on it that no package may see says `canary`, everything no package may reach listens."""

    folder: Path
    places: dict[str, object]
    listening: list[socket.socket]
    canary: str
    ended: list[Ended] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """The state folder: workspaces are below it."""
        return self.folder / "state"

    @property
    def artifacts(self) -> Path:
        """The folder of what is kept."""
        return self.folder / "artifacts"

    def filled(self, text: str) -> str:
        """Return a text with the builder's places in it, where their names stand in braces."""
        return escapes.filled(text, self.places)

    def dist_git(self, repo: str = "hello") -> DistGit:
        """Return a dist-git repository with nothing in it."""
        return DistGit(self.folder / "dist-git" / secrets.token_hex(4), repo)

    def run(self, stage: str, **request: Any) -> Ended:
        """Have a stage carried out, as the operator does. Keys given override the common request."""
        run = f"run-{len(self.ended) + 1}"
        workspace, repo = self.state / "runs" / run / f"{stage}-1", self.artifacts / "packages" / run
        workspace.mkdir(mode=0o700, parents=True)
        places = {
            "artifacts": str(self.artifacts),
            "workspace": str(workspace),
            "package_repo": str(repo),
            "package_link": str(self.artifacts / "repo" / run),
        }
        whole = common(stage, self.folder) | places | request
        self.ended.append(Ended(_carried_out(whole, workspace), workspace, repo))
        return self.ended[-1]

    def build(self, git: DistGit, rev: str, **request: Any) -> Ended:
        """Build a commit."""
        return self.run("build_package", **{"dist_git_url": git.url, "rev": rev, "repo": git.repo} | request)

    def build_files(self, files: Mapping[str, str], **request: Any) -> Ended:
        """Build a package of these files."""
        git = self.dist_git()
        return self.build(git, git.commit(files), **request)

    def run_tests(self, package_repo: Path, files: Mapping[str, str], **request: Any) -> Ended:
        """Run these functional tests against a package that was built."""
        git = self.dist_git()
        known = {"packages": ["harmless"], "nvr": "harmless-1.0-1", "package_repo": str(package_repo)}
        where = {"dist_git_url": git.url, "rev": git.commit(files)}
        return self.run("functional_tests", **known | where | request)

    def build_harmless(self) -> Ended:
        """Build the package that everything is well with."""
        return self.build_files({"harmless.spec": spec("harmless")})

    def harm(self) -> list[str]:
        """Return what was done to the builder, and what of it leaked: nothing, if all is well."""
        reached = [f"connection: {one.getsockname()}" for one in self.listening if _was_reached(one)]
        written = [str(path) for path in (self.state / "written", self.artifacts / "packages" / "written")]
        done = [path for path in [*written, "/usr/was-here"] if Path(path).exists()]
        changed = [str(path) for path in self._secret_files() if self.canary not in path.read_text(encoding="utf-8")]
        return reached + done + changed + [f"leaked: {path}" for path in self._leaks()]

    def _secret_files(self) -> list[Path]:
        return [Path(self.folder, name) for name in SECRETS]

    def _leaks(self) -> Iterator[str]:
        for one in self.ended:
            if self.canary in one.report.model_dump_json():
                yield f"the report of {one.workspace}"
            # The tool, for it goes down into folders of any depth.
            yield from self._grep("--recursive", str(one.workspace))
            for rpm in one.package_repo.glob("*.rpm"):
                content = subprocess.run(["rpm2cpio", rpm], capture_output=True, check=False).stdout
                yield from [str(rpm)] if self.canary.encode() in content else []

    def _grep(self, *where: str) -> list[str]:
        command = ["grep", "--files-with-matches", "--fixed-strings", "--devices=skip", "-e", self.canary, *where]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


SECRETS: Final = (
    "state/secret",
    "state/id_ed25519",
    "state/runs/another/result.json",
    "artifacts/packages/another/secret.txt",
)


@contextlib.contextmanager
def secret_builder(folder: Path) -> Iterator[Builder]:
    """Yield a builder in an empty folder: secrets in its files and in a process, sockets that wait for a connection."""
    canary = f"canary-{secrets.token_hex(8)}"
    for name in SECRETS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{canary}\n", encoding="ascii")
    with contextlib.ExitStack() as stack:
        tcp, udp, unix, abstract = (stack.enter_context(one) for one in _sockets(folder / "state" / "service"))
        # Killed, not waited for: the block of Popen waits.
        worker = stack.enter_context(subprocess.Popen(["sleep", "10000"], env={"WORKER_SECRET": canary}))
        stack.callback(worker.kill)
        places: dict[str, object] = {
            "state": folder / "state",
            "artifacts": folder / "artifacts",
            "checkout": CHECKOUT,
            "worker": worker.pid,
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "unix": unix.getsockname(),
            "abstract": abstract.getsockname()[1:].decode(),
        }
        yield Builder(folder, places, [tcp, udp, unix, abstract], canary)


def _sockets(path: Path) -> Iterator[socket.socket]:
    """Yield a TCP and a UDP socket, a Unix socket of this path, and an abstract one of the same name."""
    addresses = (("127.0.0.1", 0), ("127.0.0.1", 0), str(path), f"\0{path}")
    for number, address in enumerate(addresses):
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        one = socket.socket(family, socket.SOCK_DGRAM if number == 1 else socket.SOCK_STREAM)
        one.bind(address)
        one.setblocking(False)  # noqa: FBT003 - the library's own
        if one.type == socket.SOCK_STREAM:
            one.listen()
        yield one


def _was_reached(one: socket.socket) -> bool:
    try:
        one.recv(1) if one.type == socket.SOCK_DGRAM else one.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def _carried_out(request: dict[str, Any], workspace: Path) -> Report:
    try:
        return AnsibleExecutor(playbooks=PLAYBOOKS).run(request, workspace=workspace)
    except StageEnded as error:
        return aborted(str(error))
    except ExecutorError as error:
        return infrastructure_failure(str(error))
