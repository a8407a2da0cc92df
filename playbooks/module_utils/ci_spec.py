"""A package's spec: found, asked for its NVR in the sandbox, and stamped with the change it is built from."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_sandbox import Sandbox
from ansible.module_utils.ci_stage import PackageError, clean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SIZE_LIMIT: Final = 4 << 20
_NVR: Final = re.compile(r"[A-Za-z0-9._+~^-]+-[A-Za-z0-9._+~^]+-[A-Za-z0-9._+~^]+")
_RELEASE: Final = re.compile(r"^(?P<tag>\s*Release\s*:\s*)(?P<value>\S.*?)\s*$", re.IGNORECASE)
_END_OF_PREAMBLE: Final = re.compile(r"^\s*%(?:description|package|prep)\b")
_DIST: Final = re.compile(r"%\{\??dist\}|%\??dist\b")
SOURCE: Final = "/source"
MACROS: Final = "/builddir/macros.toolchain"


def find_spec(source: Path) -> Path:
    """Return the one spec of a source tree.

    Raises PackageError unless there is exactly one `*.spec` at the top, a regular file of at most 4 MiB.
    """
    specs = sorted(path for path in source.iterdir() if path.name.endswith(".spec"))
    if not specs:
        raise PackageError("the repository has no spec file at its top level")
    if len(specs) > 1:
        names = ", ".join(path.name for path in specs)
        raise PackageError(f"the repository has {len(specs)} spec files ({names}); keep one")
    status = specs[0].lstat()
    if not stat.S_ISREG(status.st_mode) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", specs[0].name):
        raise PackageError(f"{specs[0].name} is not a regular file with a plain name; commit the spec itself")
    if status.st_size > _SIZE_LIMIT:
        raise PackageError(f"{specs[0].name} is larger than {_SIZE_LIMIT >> 20} MiB")
    return specs[0]


@dataclass(frozen=True)
class SpecReader:
    """Asks rpmspec, in the sandbox, for the NVR of a spec with this dist tag and these macros (a file)."""

    workspace: Path
    limits: Mapping[str, Any]
    dist: str
    macros: Path

    def nvr(self, source: Path, spec: str) -> tuple[str, str]:
        """Return `name-version-release` of the source package, and the release alone.

        Raises PackageError with rpmspec's own words when the spec cannot be read.
        """
        readable = {SOURCE: source, MACROS: self.macros}
        sandbox = Sandbox(self.workspace, self.limits, readable=readable, folder=SOURCE)
        query = ["--qf", "%{name}-%{version}-%{release}\t%{release}\n"]
        ran = sandbox.run([*rpm_tool("rpmspec", self.dist), "-q", "--srpm", *query, f"{SOURCE}/{spec}"])
        if ran.timed_out:
            raise PackageError(f"{spec} could not be read within {self.limits['seconds']} seconds")
        nvr, _, release = ran.stdout.strip().partition("\t")
        if ran.returncode != 0 or not _NVR.fullmatch(nvr):
            raise PackageError(f"{spec} is not a valid spec: {_complaint(ran.stderr or ran.stdout)}")
        return nvr, release


def rpm_tool(tool: str, dist: str, sourcedir: str = SOURCE) -> list[str]:
    """Return the start of an rpmspec or rpmbuild command: our macros, dist tag and an empty package database.

    Debian's rpm keeps its database in the caller's home; nothing of the builder's own may be seen.
    """
    defines = {"dist": dist, "_dbpath": "/tmp/rpmdb", "_sourcedir": sourcedir, "_specdir": sourcedir}  # noqa: S108
    return [tool, f"--load={MACROS}", *(word for pair in defines.items() for word in ("--define", " ".join(pair)))]


def _complaint(stderr: str) -> str:
    lines = [line.removeprefix("error: ") for line in stderr.splitlines() if line.startswith("error: ")]
    return clean("; ".join(lines[:2]) or stderr, 300).replace(f"{SOURCE}/", "")


def stamp(text: str, mark: str, release: str, dist: str) -> str:
    """Return the spec with `mark` (`246.a3e666c`) in its Release, before the dist tag.

    `1%{?dist}` becomes `1.246.a3e666c%{?dist}`, `1%{?dist}.2` keeps its `.2` behind. A Release whose dist tag comes out
    of another macro (`%{rel}`, `%autorelease`) is replaced by what it expanded to (`release`); one without any dist tag
    gets the mark at its end. Every Release of the preamble is stamped: which one counts may hang on an %if. Raises
    PackageError when the preamble has none.
    """
    lines = text.splitlines(keepends=True)
    end = next((number for number, line in enumerate(lines) if _END_OF_PREAMBLE.match(line)), len(lines))
    matches = {number: match for number, line in enumerate(lines[:end]) if (match := _RELEASE.match(line))}
    if not matches:
        raise PackageError("the spec has no Release line before its first section, so the build cannot be numbered")
    for number, match in matches.items():
        lines[number] = f"{match['tag']}{_stamped(match['value'], mark, release, dist)}\n"
    return "".join(lines)


def _stamped(value: str, mark: str, release: str, dist: str) -> str:
    written = _DIST.search(value)
    if written:
        return f"{value[: written.start()]}.{mark}{value[written.start() :]}"
    if dist and dist in release:
        before, _, after = release.rpartition(dist)
        return f"{before}.{mark}%{{?dist}}{after}"
    return f"{value}.{mark}"


def stamp_file(spec: Path, reader: SpecReader, mark: str, release: str) -> str:
    """Stamp a spec in place and return its new NVR. Raises PackageError when its Release does not take the mark."""
    # Bytes above ASCII come back as they were, whatever the spec's encoding.
    text = spec.read_text(encoding="utf-8", errors="surrogateescape")
    spec.write_text(stamp(text, mark, release, reader.dist), encoding="utf-8", errors="surrogateescape")
    nvr, stamped = reader.nvr(spec.parent, spec.name)
    if f".{mark}" not in stamped:
        raise PackageError(f"{spec.name} computes its release ({stamped}) in a way that cannot be numbered")
    return nvr
