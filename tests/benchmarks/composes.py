"""Whether a compose of one changed package takes longer on a larger host: a base of 50 packages beside one of 500."""

import itertools
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.benchmarks import base_of
from tests.benchmarks.bare_tools import REF, BareTools
from tests.benchmarks.measuring import Book, Figure, Row, alternately
from tests.benchmarks.playbooks import play
from tests.playbooks.stage_runs import LIMITS, common

_SIZES: Final = (500, 50)
_CHANGED: Final = "changed"
_LIMITS: Final = LIMITS | {"seconds": 1200, "disk_mb": 8192}


@dataclass(slots=True)
class Host:
    """A branch whose host has so many packages beside the base OS, and one that changes.

    Attributes:
        base: the repository of all of them but the one that changes.
        folder: for the branch, and the workspaces of its composes.
        packages: how many.
        cache: of the pipeline.
        tool_seconds: what each compose spent in the tools, as the stage says.
    """

    base: Path
    folder: Path
    packages: int
    cache: Path
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    tool_seconds: list[float] = field(default_factory=list)

    @property
    def install(self) -> list[str]:
        """The packages of the host, by name."""
        return ["host-base", *_names(self.packages), _CHANGED]

    def compose(self) -> float:
        """Compose the host with a new version of the package that changes, and promote it; return the seconds."""
        number = next(self.numbers)
        candidate = _candidate(self.folder / f"candidate-{number}", number)
        request = self._request(number, candidate)
        began = time.monotonic()
        told = play("compose_ostree", request, Path(request["workspace"]))
        seconds = time.monotonic() - began
        assert told["status"] == "SUCCESS", told["reason"]
        self.tool_seconds.append(told["tool_seconds"])
        rev = told["outputs"]["compose_rev"]
        base_of.run("ostree", "refs", f"--repo={request['ostree_repo']}", "--force", f"--create={REF}", rev)
        Path(request["package_set"]).unlink(missing_ok=True)
        Path(request["package_set"]).symlink_to(candidate)
        return seconds

    def compose_bare(self) -> float:
        """The same by the calls of dnf and ostree alone."""
        number = next(self.numbers)
        work = self.folder / f"bare-{number}"
        work.mkdir()
        _candidate(work / "repo", number)
        tools = BareTools(self.base, self.folder / "bare", "", _CHANGED)
        tools.folder.mkdir(exist_ok=True)
        began = time.monotonic()
        tools.compose(work, self.install)
        seconds = time.monotonic() - began
        shutil.rmtree(work)
        return seconds

    def _request(self, number: int, candidate: Path) -> dict[str, Any]:
        return common("compose_ostree", self.folder) | {
            "run": f"rpms.changed-0000000-f26-{number}",
            "build_id": number,
            "rev": "0" * 40,
            "dist_git_url": "",
            "limits": _LIMITS,
            "cache": str(self.cache),
            "base_repo": str(self.base),
            "package_set": str(self.folder / "packages"),
            "ostree_repo": str(self.folder / "ostree"),
            "package_repo": str(candidate),
            "install": self.install,
            "workspace": str(self.folder / f"work-{number}"),
        }


def measure(book: Book, folder: Path, *, rounds: int) -> None:
    """Compose both hosts with the playbook and by hand, alternately; the first compose of each is a figure."""
    folder.mkdir()
    hosts = [_host(folder, packages) for packages in _SIZES]
    for host in hosts:
        book.figures.append(Figure(f"the first compose of a base of {host.packages} packages", host.compose(), "s"))
        host.compose_bare()
        host.tool_seconds.clear()
    measures = [partial(way, host) for way in (Host.compose, Host.compose_bare) for host in hosts]
    large, small, bare_large, bare_small = alternately(rounds, *measures)
    name, bare = "compose of one changed package, base of {} packages", "dnf and ostree alone, base of {} packages"
    sizes = [str(packages) for packages in _SIZES]
    book.rows.append(Row(name.format(sizes[0]), name.format(sizes[1]), "s", large, small))
    book.rows.append(Row(bare.format(sizes[0]), bare.format(sizes[1]), "s", bare_large, bare_small))
    tools = [f"{name.format(size)}: time in tools" for size in sizes]
    book.rows.append(Row(tools[0], tools[1], "s", hosts[0].tool_seconds, hosts[1].tool_seconds))
    for host, ours, theirs in zip(hosts, (large, small), (bare_large, bare_small), strict=True):
        book.rows.append(Row(name.format(host.packages), "dnf and ostree alone", "s", ours, theirs))


def _host(folder: Path, packages: int) -> Host:
    """Make the base of a host: the base OS as the pipeline makes it, and so many packages."""
    mine = folder / str(packages)
    mine.mkdir()
    host = Host(_base_os(folder), mine, 0, folder / "cache")
    base = mine / "base"
    base_of.make(base, _names(packages), "1")
    for path in host.base.glob("*.rpm"):
        shutil.copyfile(path, base / path.name)
    base_of.index(base)
    return Host(base, mine, packages, folder / "cache")


def _base_os(folder: Path) -> Path:
    """Return the folder of the base OS, which a compose of nothing else makes."""
    place = folder / "base-os"
    if not place.exists():
        host = Host(place, folder / "os", 0, folder / "cache")
        host.folder.mkdir()
        host.compose()
    return place


def _names(packages: int) -> list[str]:
    return [f"part{number:03}" for number in range(packages)]


def _candidate(folder: Path, number: int) -> Path:
    base_of.make(folder, [_CHANGED], str(number))
    base_of.index(folder)
    return folder
