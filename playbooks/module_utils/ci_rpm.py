"""What an rpmbuild left behind: which step failed and why, and the packages it wrote."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_sandbox import Sandbox
from ansible.module_utils.ci_stage import PackageError, clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_STEP: Final = re.compile(r"^error: Bad exit status from \S+ \((%\w+)\)", re.MULTILINE)
_NOISE: Final = re.compile(
    r"^(?:\s*$|\+|Executing\(%|error: Bad exit status|RPM build errors|make: \*\*\*|\s+Bad exit status"
    r"|RPM build warnings)"
)
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~^-]*\.rpm")
_QUERY: Final = "%{name}\t%{version}-%{release}\t%{arch}\t%{sourcepackage}\n"
_FIELDS: Final = 4
# rpm's own alphabet of names, versions and architectures.
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~^-]*")


@dataclass(frozen=True)
class Rpm:
    """An RPM file and what its header says; `evr` is version-release."""

    path: Path
    name: str
    evr: str
    arch: str
    is_source: bool


def failure(log: str) -> str:
    """Return one sentence on why rpmbuild failed, from the end of its log: the step and its last meaningful line."""
    steps = list(_STEP.finditer(log))
    if not steps:
        errors = [line.removeprefix("error: ") for line in log.splitlines() if line.startswith("error: ")]
        return f"rpmbuild failed: {clean('; '.join(errors[:2]) or _last_line(log.splitlines()), 300)}"
    step = steps[-1]
    return f"{step[1]} failed: {clean(_last_line(log[: step.start()].splitlines()), 300)}"


def _last_line(lines: Sequence[str]) -> str:
    said = [line for line in lines if not _NOISE.match(line)]
    commands = [line for line in lines if line.startswith("+")]
    return next((lines_[-1] for lines_ in (said, commands) if lines_), "it said nothing")


def collect(topdir: Path) -> list[Path]:
    """Return the RPM files below SRPMS and RPMS: regular files with plain names, whatever else a build put there."""
    folders = [topdir / name for name in ("SRPMS", "RPMS")]
    for folder in folders:
        if not stat.S_ISDIR(_mode(folder)):
            raise PackageError(f"the build replaced its folder {folder.name} by something else")
    found = [path for folder in folders for path in sorted(folder.rglob("*.rpm"))]
    return [plain(path) for path in found]


def plain(path: Path) -> Path:
    """Return the path of a package; raise PackageError when it is no regular file with a plain name."""
    if not stat.S_ISREG(path.lstat().st_mode) or not _FILE.fullmatch(path.name):
        raise PackageError(f"the build left {clean(path.name, 80)!r} among its packages, which is not a plain RPM file")
    return path


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return 0


def query(files: Sequence[Path], workspace: Path, limits: Mapping[str, Any]) -> list[Rpm]:
    """Return what the headers say; the files must lie in one folder. A forged header is read in the sandbox, too.

    Raises PackageError when one cannot be read, or says what rpm itself would not have written there.
    """
    if not files:
        return []
    sandbox = Sandbox(workspace, limits, readable={"/packages": files[0].parent}, folder="/packages")
    command = ["rpm", "--define", "_dbpath /tmp/rpmdb", "-qp", "--nosignature", "--qf", _QUERY]
    ran = sandbox.run([*command, *(path.name for path in files)])
    rows = [line.split("\t") for line in ran.stdout.splitlines()]
    if ran.returncode != 0:
        raise PackageError(f"the build wrote packages that rpm cannot read: {clean(ran.stderr, 200)}")
    if len(rows) != len(files) or not all(map(_is_sane, rows)):
        raise PackageError("the build wrote packages whose headers name something that is no package")
    return [Rpm(path, row[0], row[1], row[2], row[3] == "1") for path, row in zip(files, rows, strict=True)]


def _is_sane(row: Sequence[str]) -> bool:
    return len(row) == _FIELDS and all(map(_WORD.fullmatch, row[:3]))
