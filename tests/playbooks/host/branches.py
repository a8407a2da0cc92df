"""A branch for the stages of the host: its OSTree repository, its packages, its images."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from tests.playbooks.stage_runs import DistGit, RunStage

REF = "fedora/f26/x86_64/atomic-host"
LIMITS = {"seconds": 300, "boot_seconds": 120, "memory_mb": 1024, "disk_mb": 2048, "processes": 256, "free_mb": 1}
SPEC = """\
Name: {name}
Version: {version}
Release: 1.fc26
Summary: A package to compose
License: MIT
BuildArch: noarch
{header}
%description
A package to compose.
%install
install -d %{{buildroot}}/usr/bin %{{buildroot}}/etc
printf '#!/bin/sh\\necho hello {version}\\n' >%{{buildroot}}/usr/bin/{name}
chmod 755 %{{buildroot}}/usr/bin/{name}
echo 'greeting={version}' >%{{buildroot}}/etc/{name}.conf
{install}
{scriptlet}
%files
/usr/bin/{name}
%config(noreplace) /etc/{name}.conf
{files}
"""


class BuildCandidate(Protocol):
    """Build a package and return the folder of its repository."""

    def __call__(self, version: str, *, name: str = "hello", **sections: str) -> Path:
        """`sections` are header, install, scriptlet and files: lines added to the spec."""


@dataclass
class Branch:
    """What a branch has: its OSTree repository, its last good packages (a symlink), its images."""

    folder: Path
    base: Path
    cache: Path
    run_stage: RunStage
    dist_git: DistGit

    @property
    def ostree(self) -> Path:
        """The OSTree repository."""
        return self.folder / "ostree"

    @property
    def package_set(self) -> Path:
        """The symlink to the last good packages."""
        return self.folder / "packages"

    @property
    def images(self) -> Path:
        """The folder of images."""
        return self.folder / "images"

    def head(self) -> str:
        """Return the commit the ref points at, `""` without one."""
        path = self.ostree / "refs" / "heads" / REF
        return path.read_text(encoding="ascii").strip() if path.is_file() else ""

    def good_packages(self) -> list[str]:
        """Return the file names of the last good packages."""
        return sorted(path.name for path in self.package_set.glob("*.rpm"))

    def stage(self, stage: str, **request: Any) -> dict[str, Any]:
        """Run a stage on this branch."""
        common = {
            "rev": "0" * 40,
            "dist_git_url": self.dist_git.url,
            "limits": LIMITS,
            "cache": str(self.cache),
            "base_repo": str(self.base),
            "package_set": str(self.package_set),
            "ostree_repo": str(self.ostree),
            "image_dir": str(self.images),
            "ref": REF,
        }
        return self.run_stage(stage, **(common | request))

    def compose(self, candidate: Path, **request: Any) -> dict[str, Any]:
        """Run compose_ostree with a candidate."""
        defaults: dict[str, Any] = {"package_repo": str(candidate), "install": ["host-base", "hello"]}
        return self.stage("compose_ostree", **(defaults | request))

    def integrate(self, composed: dict[str, Any], candidate: Path, **request: Any) -> dict[str, Any]:
        """Run integration_tests on a compose; the package's tests are what its dist-git has."""
        outputs = composed["outputs"]
        defaults = {
            "compose_rev": outputs["compose_rev"],
            "parent_rev": outputs["parent_rev"],
            "packages": ["hello", "hello-docs"],
            "nvr": "hello-1.0-1.fc26",
            "package_repo": str(candidate),
            "rev": self.dist_git.git("rev-parse", "HEAD"),
        }
        return self.stage("integration_tests", **(defaults | request))


def ostree(repo: Path, *arguments: str) -> str:
    """Run ostree on a repository and return what it prints."""
    command = ["ostree", arguments[0], f"--repo={repo}", *arguments[1:]]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def refs(repo: Path) -> set[str]:
    """Return the refs of a repository but for those that keep commits of base packages."""
    return {ref for ref in ostree(repo, "refs").split() if not ref.startswith("base/")}
