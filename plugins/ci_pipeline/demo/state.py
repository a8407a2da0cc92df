"""What a branch stands at: its OSTree ref and its last good packages. The demo shows that a bad push moves neither."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from ci_pipeline.settings import Settings


@dataclass(frozen=True)
class BranchState:
    """A branch, as other programs than the pipeline see it.

    Attributes:
        rev: what `ostree rev-parse` says of its ref; "" if it has none yet.
        packages: file names of its last good packages, sorted.
    """

    rev: str
    packages: tuple[str, ...]


def look(settings: Settings, branch: str) -> BranchState:
    """Read the state of a branch from its repositories."""
    folder = settings.artifacts.folder / "fedora-atomic" / branch
    packages = folder / "repo" / "last-good"
    return BranchState(
        rev=_rev(folder / "ostree", settings.ref_of(branch)),
        packages=tuple(sorted(path.name for path in packages.glob("*.rpm"))) if packages.is_dir() else (),
    )


def _rev(repository: Path, ref: str) -> str:
    if not repository.is_dir():
        return ""
    command = ["ostree", "rev-parse", f"--repo={repository}", ref]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    return done.stdout.strip() if done.returncode == 0 else ""
