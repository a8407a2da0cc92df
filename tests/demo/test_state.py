"""What the demo says a branch stands at, against repositories made with the real tools."""

import subprocess
from pathlib import Path

from ci_pipeline.demo.state import BranchState, look
from ci_pipeline.settings import Settings


def ostree(repository: Path, *arguments: str) -> str:
    """Return what ostree says."""
    command = ["ostree", f"--repo={repository}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def in_folder(current: Settings, folder: Path) -> Settings:
    """Return the settings with another artifacts folder."""
    return current.model_copy(update={"artifacts": current.artifacts.model_copy(update={"folder": folder})})


def test_a_branch_without_a_compose_stands_at_nothing(current: Settings, tmp_path: Path) -> None:
    """Before the first promotion there is neither a ref nor a package, with or without a repository."""
    repository = tmp_path / "fedora-atomic" / "f26" / "ostree"
    assert look(in_folder(current, tmp_path), "f26") == BranchState("", ())

    repository.mkdir(parents=True)
    ostree(repository, "init", "--mode=archive")

    assert look(in_folder(current, tmp_path), "f26") == BranchState("", ())


def test_a_promotion_is_seen(current: Settings, tmp_path: Path) -> None:
    """The ref's commit, and the packages behind the link that a promotion switches."""
    branch = tmp_path / "fedora-atomic" / "f26"
    tree, packages = tmp_path / "tree", branch / "repo" / "last-good.1"
    for folder in (tree, packages, branch / "ostree"):
        folder.mkdir(parents=True)
    (packages / "greeter-1.2-1.noarch.rpm").touch()
    (branch / "repo" / "last-good").symlink_to(packages.name)
    ostree(branch / "ostree", "init", "--mode=archive")
    rev = ostree(branch / "ostree", "commit", "--branch=fedora/f26/x86_64/atomic-host", str(tree))

    assert look(in_folder(current, tmp_path), "f26") == BranchState(rev, ("greeter-1.2-1.noarch.rpm",))
