"""The candidate of a compose: what it brings, that the tree has it, and the commit it becomes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_nevra import QUERY, Nevra, difference, parse_query
from ansible.module_utils.ci_sandbox import Sandbox
from ansible.module_utils.ci_stage import InfrastructureError, PackageError, clean
from ansible.module_utils.ci_tools import Clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ansible.module_utils.ci_ostree import Repository
    from ansible.module_utils.ci_stage import Part

KEPT: Final = 20
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
# What makes a failure of dnf or rpm-ostree one of the packages rather than one of this builder.
_OF_THE_PACKAGES: Final = re.compile(
    r"Problem|No match|Unable to find a match|conflict|scriptlet|unpacking of archive failed|Error unpacking"
    r"|Packages not found|Running %\w+ for",
    re.IGNORECASE,
)
# The lines of their output that say what is wrong.
_TELLING: Final = re.compile(
    r"^(?:[Ee]rror: *\S|Problem|- |No match|.*scriptlet failed|file \S+ .*conflict)|Error unpacking .*"
)


def check_install(install: Sequence[str]) -> None:
    """Raise InfrastructureError unless this is a list of names of packages."""
    wrong = [name for name in install if not NAME.fullmatch(name)]
    if wrong or not install:
        raise InfrastructureError(f"{clean(wrong, 80)} are not names of packages; correct compose.packages")


def candidates(repo: Path, workspace: Path, limits: Mapping[str, Any]) -> list[Nevra]:
    """Return the binary packages of the run's repository; their headers are read in the sandbox."""
    if not repo.is_dir():
        raise InfrastructureError("the run has no package repository; run the stage build_package first")
    names = sorted(path.name for path in repo.glob("*.rpm") if not path.name.endswith(".src.rpm"))
    sandbox = Sandbox(workspace, limits, readable={"/packages": repo}, folder="/packages")
    command = ["rpm", "--define", "_dbpath /tmp/rpmdb", "-qp", "--nosignature", "--qf", QUERY, *names]
    with Clock.running():
        ran = sandbox.run(command)
    if ran.returncode != 0 or not names:
        raise PackageError(f"the candidate's packages cannot be read: {clean(ran.stderr, 200) or 'there are none'}")
    return parse_query(ran.stdout)


def names_of(packages: Iterable[Nevra]) -> list[str]:
    """Return the names, sorted. Raises PackageError when one of them is none."""
    names = sorted({one.name for one in packages})
    if wrong := [name for name in names if not NAME.fullmatch(name)]:
        raise PackageError(f"{clean(wrong, 80)} are not names of packages")
    return names


def require(wanted: Iterable[Nevra], installed: Iterable[Nevra], part: Part) -> None:
    """Raise PackageError when another build than the candidate's is installed."""
    there = {one.name: one for one in installed}
    for one in wanted:
        found = there.get(one.name)
        if found is not None and found != one:
            raise PackageError(
                f"the tree has {found} instead of the candidate {one}: raise the candidate's version or release", part
            )


def failure(log: str, part: Part) -> PackageError | InfrastructureError:
    """Return why dnf or rpm-ostree failed, by what it said: its problems when it names any, else its last line."""
    kind = PackageError if _OF_THE_PACKAGES.search(log) else InfrastructureError
    lines = [clean(line) for line in log.splitlines() if line.strip()]
    found = [(line, match) for line in lines if (match := _TELLING.search(line))]
    telling = [line[match.start() :].lstrip("- ") for line, match in found]
    said = clean("; ".join(telling) if telling else "".join(lines[-1:]) or "it said nothing", 400)
    return kind(f"the tree cannot be composed: {said}", part)


def next_version(parent: str, release: str) -> str:
    """Return the version after the parent's, in the release: `26.391` -> `26.392`, `""` -> `26.1`."""
    prefix, _, number = parent.rpartition(".")
    return f"{release}.{int(number) + 1 if prefix == release and number.isdecimal() else 1}"


def forget_old(repository: Repository, branch: str, build_id: int) -> None:
    """Remove the refs of a branch's candidates but for the newest 20."""
    for ref in repository.refs(f"candidate/{branch}"):
        if int(ref.rpartition("/")[2]) <= build_id - KEPT:
            repository.delete_ref(ref)


def outputs(repository: Repository, rev: str, version: str, parent: str, packages: Sequence[Nevra]) -> dict[str, Any]:
    """Return the outputs of compose_ostree."""
    diff = difference(repository.packages(parent) if parent else [], packages)
    known = {"compose_rev": rev, "version": version, "parent_rev": parent, "package_diff": diff}
    return known | {"installed": [str(one) for one in packages]}
