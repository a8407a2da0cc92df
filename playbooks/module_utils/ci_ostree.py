"""An OSTree repository, through the ostree tool."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_nevra import Nevra, from_pkglist
from ansible.module_utils.ci_stage import InfrastructureError, clean
from ansible.module_utils.ci_tools import output, run

if TYPE_CHECKING:
    from pathlib import Path

PKGLIST: Final = "rpmostree.rpmdb.pkglist"
_CHECKSUM: Final = re.compile(r"[0-9a-f]{64}")
_REF: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


class Repository:
    """The repository at `path`, in archive mode: the one that is published."""

    def __init__(self, path: Path) -> None:
        """Take the path; nothing is read yet."""
        self.path = path

    def create(self) -> None:
        """Make the repository when there is none.

        Aside and whole: ostree takes one that a full disk cut short for complete.
        """
        if (self.path / "config").is_file():
            return
        scratch = self.path.with_name(f".{self.path.name}.new")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        output(["ostree", "init", f"--repo={scratch}", "--mode=archive"])
        scratch.rename(self.path)

    def ostree(self, verb: str, *arguments: str | Path) -> str:
        """Run `ostree VERB --repo=...` and return what it prints. Raises InfrastructureError with ostree's sentence."""
        return output(["ostree", verb, f"--repo={self.path}", *arguments])

    def head(self, ref: str) -> str:
        """Return the commit a ref points at, `""` when there is no such ref."""
        path = self.path / "refs" / "heads" / valid_ref(ref)
        return valid_checksum(path.read_text(encoding="ascii").strip()) if path.is_file() else ""

    def require(self, rev: str) -> None:
        """Raise InfrastructureError unless the repository holds this commit."""
        if run(["ostree", "show", f"--repo={self.path}", valid_checksum(rev)]).returncode != 0:
            raise InfrastructureError(f"{self.path} has no commit {rev}; run the stage compose_ostree again")

    def version(self, rev: str) -> str:
        """Return a commit's version."""
        return self.ostree("show", "--print-metadata-key=version", rev).strip().strip("'")

    def packages(self, rev: str) -> list[Nevra]:
        """Return the packages a commit's metadata lists."""
        return from_pkglist(self.ostree("show", f"--print-metadata-key={PKGLIST}", rev))

    def set_ref(self, ref: str, rev: str) -> None:
        """Point a ref at a commit, whether it existed or not."""
        self.ostree("refs", "--force", f"--create={valid_ref(ref)}", valid_checksum(rev))

    def refs(self, prefix: str) -> list[str]:
        """Return the refs below a prefix, whole."""
        folder = self.path / "refs" / "heads"
        return sorted(
            str(path.relative_to(folder)) for path in (folder / valid_ref(prefix)).rglob("*") if path.is_file()
        )

    def keep_newest(self, prefix: str, used: str, number: int) -> None:
        """Remove the refs below a prefix but for those used last; `used` is used now."""
        folder = self.path / "refs" / "heads"
        (folder / used).touch()
        for ref in sorted(self.refs(prefix), key=lambda ref: (folder / ref).stat().st_mtime)[:-number]:
            self.delete_ref(ref)

    def delete_ref(self, ref: str) -> None:
        """Remove a ref; its commit goes with the next prune unless another ref holds it."""
        self.ostree("refs", "--delete", valid_ref(ref))


def valid_checksum(text: str) -> str:
    """Return the checksum; raise InfrastructureError when it is none."""
    if not _CHECKSUM.fullmatch(text):
        raise InfrastructureError(f"{clean(text, 80)!r} is not an OSTree commit (64 hexadecimal digits)")
    return text


def valid_ref(text: str) -> str:
    """Return the name of a ref; raise InfrastructureError when it is none."""
    if not _REF.fullmatch(text):
        raise InfrastructureError(f"{clean(text, 80)!r} is not the name of an OSTree ref")
    return text


def candidate_ref(branch: str, build_id: int) -> str:
    """Return the ref that keeps a candidate commit from being pruned until it is promoted or forgotten."""
    return valid_ref(f"candidate/{branch}/{build_id}")
