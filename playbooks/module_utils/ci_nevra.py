"""Names of installed packages: read from rpm, written into and read from a commit's metadata, compared."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_stage import PackageError, clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

QUERY: Final = "%{name}\t%{epochnum}\t%{version}\t%{release}\t%{arch}\n"
# rpm's own alphabet. It has no quote, so the texts are safe in GVariant's notation.
_FIELD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~^-]*")
_FIELDS: Final = 5


@dataclass(frozen=True, order=True)
class Nevra:
    """An installed package. `epoch` is `0` when it has none, as in rpm-ostree's package lists."""

    name: str
    epoch: str
    version: str
    release: str
    arch: str

    def __str__(self) -> str:
        """Return name-[epoch:]version-release.arch."""
        epoch = "" if self.epoch == "0" else f"{self.epoch}:"
        return f"{self.name}-{epoch}{self.version}-{self.release}.{self.arch}"


def parse_query(text: str) -> list[Nevra]:
    """Return the packages that `rpm -q --qf QUERY` printed, sorted.

    Raises PackageError for a name that rpm does not allow.
    """
    rows = [line.split("\t") for line in text.splitlines()]
    for row in rows:
        if len(row) != _FIELDS or not all(_FIELD.fullmatch(value) for value in row):
            raise PackageError(f"the package database names something that is no package: {clean(row, 120)}")
    return sorted(Nevra(*row) for row in rows)


def to_pkglist(packages: Iterable[Nevra]) -> str:
    """Return the value of rpmostree.rpmdb.pkglist, a(sssss) in GVariant's notation."""
    rows = [(one.name, one.epoch, one.version, one.release, one.arch) for one in packages]
    return "@a(sssss) [" + ", ".join(str(row) for row in rows) + "]"


def from_pkglist(text: str) -> list[Nevra]:
    """Return the packages of an rpmostree.rpmdb.pkglist as ostree prints it."""
    return sorted(Nevra(*row) for row in ast.literal_eval(text.strip().removeprefix("@a(sssss) ")))


def difference(old: Sequence[Nevra], new: Sequence[Nevra]) -> dict[str, Any]:
    """Return `added` and `removed` (NEVRAs) and `changed` ([old, new], where one version replaced another)."""
    gone, come = sorted(set(old) - set(new)), sorted(set(new) - set(old))
    before, after = _by_name(gone), _by_name(come)
    changed = [name for name in before if len(before[name]) == 1 and len(after.get(name, [])) == 1]
    return {
        "added": [str(one) for one in come if one.name not in changed],
        "removed": [str(one) for one in gone if one.name not in changed],
        "changed": [[str(before[name][0]), str(after[name][0])] for name in changed],
    }


def _by_name(packages: Iterable[Nevra]) -> dict[str, list[Nevra]]:
    grouped: dict[str, list[Nevra]] = {}
    for one in packages:
        grouped.setdefault(one.name, []).append(one)
    return grouped
