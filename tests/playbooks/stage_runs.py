"""For the playbooks' tests: a dist-git of one's own, and a stage run the way the pipeline runs it."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import ansible_runner

from ci_pipeline.executors.report import read_report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from ci_pipeline.executors.report import Report

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
# A path longer than the address of a Unix socket may be: a clone can lie anywhere.
DEEP: Final = "a-workspace-may-lie-deep/" * 4
LIMITS = {"seconds": 120, "boot_seconds": 60, "memory_mb": 2048, "disk_mb": 1024, "processes": 256, "free_mb": 1}
GIT_ENVIRONMENT = {
    "GIT_AUTHOR_NAME": "Packager",
    "GIT_AUTHOR_EMAIL": "packager@example.com",
    "GIT_COMMITTER_NAME": "Packager",
    "GIT_COMMITTER_EMAIL": "packager@example.com",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05+00:00",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05+00:00",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def module(name: str) -> ModuleType:
    """Return one of the stages' modules."""
    spec = importlib.util.spec_from_file_location(name, PLAYBOOKS / "library" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


class RunStage(Protocol):
    """Run a stage's playbook with a request, check that it left a result, return that result."""

    def __call__(self, stage: str, /, **request: Any) -> dict[str, Any]:
        """Keys given override the common request; `workspace` is a new folder unless given."""


class CarryOut(Protocol):
    """Have a stage carried out in a workspace by the pipeline's executor, and return its report."""

    def __call__(self, stage: str, workspace: Path, **request: Any) -> Report:
        """Keys given override the common request."""


@dataclass
class DistGit:
    """One package's repository and its look-aside folder, under a dist-git root."""

    root: Path
    repo: str
    namespace: str = "rpms"
    sources: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Create the repository."""
        self.path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=f26")

    @property
    def path(self) -> Path:
        """The repository's folder."""
        return self.root / self.namespace / self.repo

    @property
    def url(self) -> str:
        """The clone URL."""
        return self.path.as_uri()

    @property
    def lookaside(self) -> Path:
        """The base of the look-aside cache."""
        return self.root / "lookaside"

    def git(self, *arguments: str) -> str:
        """Run git in the repository and return what it prints."""
        command = ["git", "-C", str(self.path), *arguments]
        run = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | GIT_ENVIRONMENT)
        return run.stdout.strip()

    def write(self, files: Mapping[str, str]) -> None:
        """Write files into the working tree; what starts with `#!` is executable."""
        for name, text in files.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            target.chmod(0o755 if text.startswith("#!") else 0o644)

    def commit(self, files: Mapping[str, str] | None = None, subject: str = "Update") -> str:
        """Commit the working tree with these files and return the rev."""
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.git("rev-parse", "HEAD")

    def upload(self, name: str, content: bytes, *, checksum: str | None = None, old: bool = False) -> str:
        """Put a source into the look-aside cache and return its line for `sources`."""
        kind = "md5" if old else "sha512"
        actual = checksum or hashlib.new(kind, content).hexdigest()
        target = self.lookaside / self.namespace / self.repo / name / kind / actual / name
        target.parent.mkdir(parents=True)
        target.write_bytes(content)
        return f"{actual}  {name}\n" if old else f"SHA512 ({name}) = {actual}\n"


def stage_runner(base: Path) -> RunStage:
    """Return the function `run_stage` is, with all its folders below base; for fixtures of a wider scope."""
    counter = itertools.count(1)

    def run(stage: str, /, **request: Any) -> dict[str, Any]:
        number = next(counter)
        workspace = Path(request.pop("workspace", base / DEEP / f"{stage}-{number}"))
        workspace.mkdir(parents=True, exist_ok=True)
        private = base / f"runner-{number}"
        private.mkdir()
        ansible_runner.run(
            private_data_dir=str(private),
            project_dir=str(PLAYBOOKS),
            # ansible-playbook of the environment the tests run in, whether or not it is activated.
            envvars={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            playbook=f"{stage}.yml",
            inventory=str(PLAYBOOKS / "inventory" / "hosts.yml"),
            extravars=common(stage, base) | {"workspace": str(workspace)} | request,
            quiet=True,
        )
        answer = workspace / "result.json"
        assert answer.is_file(), _log(private)
        read_report(workspace)  # the pipeline would refuse what breaks the stage contract
        result: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return result

    return run


def common(stage: str, base: Path) -> dict[str, Any]:
    """Return the request keys that are the same for all stages, with folders below base."""
    return {
        "stage": stage,
        "run": "rpms.hello-0000000-f26-1",
        "build_id": 1,
        "package_namespace": "rpms",
        "repo": "hello",
        "branch": "f26",
        "promote": True,
        "toolchain": "local",
        "ref": "fedora/f26/x86_64/atomic-host",
        "arch": "x86_64",
        "release": "26",
        "dist": ".fc26",
        "lookaside_url": "",
        "limits": LIMITS,
        "artifacts": str(base),
        "cache": str(base / "cache"),
    }


def _log(private: Path) -> str:
    logs = sorted(private.glob("artifacts/*/stdout"))
    return logs[-1].read_text(encoding="utf-8") if logs else "ansible-runner wrote no log"
