"""Install what is new on top of the tree of the base packages, which is kept in the cache.

Only packages of the base repository are in a tree that is kept, and their scriptlets alone have written to it: who
makes it sees no other repository, for a name can be forged. What this run or the branch brings goes over it with
overlayfs, where no write reaches it, and never runs scriptlets there: packages that have some are installed with
everything else, from nothing. So is all that would not end the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_dnf import MAIN, is_good
from ansible.module_utils.ci_sandbox import Sandbox
from ansible.module_utils.ci_tools import Clock, locked, output, sha256
from ansible.module_utils.ci_tree import finish_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ansible.module_utils.ci_dnf import Chosen, Dnf
    from ansible.module_utils.ci_nevra import Nevra

# Another number, other trees: to be raised when what is done here changes them.
_FORMAT: Final = 1
_BASE: Final = "base"
_DIGITS: Final = 15
KEPT: Final = 5
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~^-]*\.rpm")


@dataclass(frozen=True)
class BaseTree:
    """A tree of the cache, and the digest of all it was made of."""

    key: str
    path: Path


class BaseTrees:
    """The trees of base packages below a folder of the cache."""

    def __init__(self, folder: Path, dnf: Dnf) -> None:
        """Take the folder, and dnf over the repositories of a compose."""
        self.folder, self.dnf = folder, dnf

    def install(self, wanted: Sequence[str], log: Path, tree: Path) -> tuple[BaseTree, list[Nevra]] | None:
        """Install into `tree` what a kept tree lacks of what is wanted, and shape it.

        Returns the kept tree, which is made if need be, and all that is installed in both together; None when that
        is not sure to be what installing everything from nothing makes.
        """
        versions, chosen = self.dnf.choose(wanted)
        base = [one for one in chosen if one.repo == _BASE]
        rest = [one for one in chosen if one.repo != _BASE]
        are_there = all((self.dnf.repos[_BASE] / one.file).is_file() for one in base)
        if not base or not rest or not are_there or not self._are_plain(rest):
            return None
        with self._kept(self._key(versions, base), base, log, tree) as kept:
            if kept is None:
                return None
            dnf = self.dnf.only(*(name for name in self.dnf.repos if name != _BASE))
            ran = dnf.install([str(one.nevra) for one in rest], log, tree, kept.path)
            if not is_good(ran) or self.dnf.installed(tree, kept.path) != _nevras(chosen):
                return None
        return (kept, _nevras(chosen)) if finish_over(tree) else None

    def _are_plain(self, packages: Sequence[Chosen]) -> bool:
        """Tell whether packages run nothing when they, or others, are installed; headers are read in the sandbox."""
        if not all(_FILE.fullmatch(one.file) for one in packages):
            return False
        readable = {f"/repos/{name}": path for name, path in self.dnf.repos.items()}
        sandbox = Sandbox(self.dnf.workspace, self.dnf.limits, readable=readable, folder="/repos")
        options = ["--define", "_dbpath /tmp/rpmdb", "--nosignature", "--scripts", "--triggers", "--filetriggers"]
        with Clock.running():
            ran = sandbox.run(["rpm", "-qp", *options, *(f"{one.repo}/{one.file}" for one in packages)])
        return ran.returncode == 0 and not ran.stdout.strip()

    def _key(self, versions: str, base: Sequence[Chosen]) -> str:
        repo = self.dnf.repos[_BASE]
        # dnf takes a file of a folder as it is, whatever the metadata say of it.
        packages = [[str(one.nevra), one.file, *_state(repo / one.file)] for one in base]
        made_of: list[Any] = [_FORMAT, MAIN, versions, sha256(repo / "repodata" / "repomd.xml"), packages]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:_DIGITS]

    @contextlib.contextmanager
    def _kept(self, key: str, base: Sequence[Chosen], log: Path, tree: Path) -> Iterator[BaseTree | None]:
        """Yield the tree of these packages, which stays as long as the block lasts; None when there can be none.

        One run makes it, others wait for it.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path, lock = self.folder / key, self.folder / f".{key}.lock"
        if not path.is_dir():
            with locked(lock):
                os.utime(lock)
                if path.is_dir() or self._make(path, base, log, tree):
                    self._forget_old()
        with locked(lock, fcntl.LOCK_SH):
            os.utime(lock)  # it is used now
            yield BaseTree(key, path) if path.is_dir() and self.dnf.can_lie_over(tree, path) else None

    def _make(self, path: Path, base: Sequence[Chosen], log: Path, tree: Path) -> bool:
        partial = path.with_name(f".{path.name}.new")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            if not self.dnf.can_lie_over(tree, partial):
                return False
            # A candidate can be called like a package of the base, and its metadata attack who reads them.
            ran = self.dnf.only(_BASE).install([str(one.nevra) for one in base], log, partial)
            if not is_good(ran) or self.dnf.installed(partial) != _nevras(base) or not _has_kernel(partial):
                return False
            # What is not on the disk yet must not be taken for a tree after a crash.
            output(["sync", "--file-system", partial])
            partial.rename(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return True

    def _forget_old(self) -> None:
        """Remove trees but for those used last, and those a compose is at work over, or makes."""
        locks = [path for path in self.folder.glob(".*.lock") if self._of(path).is_dir()]
        for lock in sorted(locks, key=lambda path: path.stat().st_mtime)[:-KEPT]:
            with contextlib.suppress(BlockingIOError), locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(self._of(lock))

    def _of(self, lock: Path) -> Path:
        return self.folder / lock.name.removeprefix(".").removesuffix(".lock")


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _nevras(packages: Sequence[Chosen]) -> list[Nevra]:
    return sorted(one.nevra for one in packages)


def _has_kernel(tree: Path) -> bool:
    return any((tree / "usr" / "lib" / "modules").glob("*/vmlinuz"))
