"""Git objects that no git command would write: names, trees and times as only an attacker makes them."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final

from tests.playbooks.stage_runs import GIT_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.playbooks.stage_runs import DistGit

FILE: Final = b"100644"
LINK: Final = b"120000"
FOLDER: Final = b"40000"
MODULE: Final = b"160000"


def with_file(name: bytes, mode: bytes = FILE) -> Callable[[DistGit], str]:
    """Return what commits another file of this name: the spec once more, or a link to /etc/passwd."""

    def commit(git: DistGit) -> str:
        blob = write(git, "blob", b"/etc/passwd" if mode == LINK else b"a file\n")
        return commit_tree(git, [(mode, name, blob)])

    return commit


def large(git: DistGit) -> str:
    """Commit 17 MB that nothing makes smaller, and remove them again: they stay in the repository."""
    (git.path / "noise").write_bytes(os.urandom(17 << 20))
    git.commit()
    (git.path / "noise").unlink()
    return git.commit()


def with_many_files(git: DistGit) -> str:
    """Commit 10^10 files, in eleven objects."""
    whole = tree(git, [(FILE, b"%d" % number, write(git, "blob", b"")) for number in range(10)])
    for _ in range(9):
        whole = tree(git, [(FOLDER, b"%d" % number, whole) for number in range(10)])
    return commit_tree(git, [(FOLDER, b"many", whole)])


def at(time: str) -> Callable[[DistGit], str]:
    """Return what commits the same files at a time as git keeps it: seconds and time zone."""

    def commit(git: DistGit) -> str:
        text = f"tree {git.git('rev-parse', 'HEAD^{tree}')}\nauthor a <a> {time}\ncommitter a <a> {time}\n\nAttack\n"
        return _moved(git, write(git, "commit", text.encode()))

    return commit


def commit_tree(git: DistGit, entries: list[tuple[bytes, bytes, str]], *, keep: bool = False) -> str:
    """Commit mode, name and object of files beside the spec of the last commit, or all it has; return the rev."""
    there = _listed(git)
    kept = there if keep else [entry for entry in there if entry[1] == b"hello.spec"]
    whole = tree(git, sorted([*kept, *entries], key=lambda entry: entry[1]))
    return _moved(git, git.git("commit-tree", "-m", "Attack", "-p", "HEAD", whole))


def _listed(git: DistGit) -> list[tuple[bytes, bytes, str]]:
    command = ["git", "-C", str(git.path), "ls-tree", "-z", "HEAD"]
    records = subprocess.run(command, check=True, capture_output=True).stdout.split(b"\0")
    found = [record.partition(b"\t") for record in records if record]
    return [(facts.split()[0].lstrip(b"0"), name, facts.split()[2].decode()) for facts, _, name in found]


def write(git: DistGit, kind: str, content: bytes) -> str:
    """Write an object, whatever is in it, and return its id."""
    command = ["git", "-C", str(git.path), "hash-object", "-t", kind, "-w", "--literally", "--stdin"]
    environment = os.environ | GIT_ENVIRONMENT
    return (
        subprocess.run(command, input=content, check=True, capture_output=True, env=environment).stdout.decode().strip()
    )


def tree(git: DistGit, entries: list[tuple[bytes, bytes, str]]) -> str:
    """Write a tree of mode, name and object, in this order, and return its id."""
    return write(git, "tree", b"".join(b"%s %s\0%s" % (mode, name, bytes.fromhex(one)) for mode, name, one in entries))


def _moved(git: DistGit, rev: str) -> str:
    git.git("update-ref", "refs/heads/f26", rev)
    return rev
