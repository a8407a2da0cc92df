"""Bringing back what a stage left on its builder: its report, the files that names, the folders the stage writes.

A builder is believed what it made, and nothing else: it chooses neither where a file lands nor how large it gets.
Files come into a folder of their own, by an rsync that can write nowhere else; only when each has the checksum it had
on the builder do they go where they belong.
"""

import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ci_pipeline.builders import listing
from ci_pipeline.builders.connection import Connection
from ci_pipeline.builders.incoming import Incoming, move_link
from ci_pipeline.builders.listing import Listed
from ci_pipeline.builders.place import Place
from ci_pipeline.errors import BuilderError
from ci_pipeline.executors.base import Request
from ci_pipeline.executors.report import MAKE_ROOM, MAX_REPORT_BYTES, REPORT_NAME, Report, parse_report
from ci_pipeline.outcome import Status
from ci_pipeline.transfers import TRANSFERS, Link

_INCOMING: Final = ".incoming"
_PAGE: Final = 4096


class Fetch:
    """Brings back what one try left."""

    def __init__(self, connection: Connection, place: Place, request: Request, workspace: Path) -> None:
        """Take the builder's connection, the try's place, its request as it is for this machine, and its workspace."""
        self._connection, self._place, self._request, self._workspace = connection, place, request, workspace
        self._builder = connection.builder.name
        self._seconds = float(request["limits"]["seconds"])
        self._largest = int(request["limits"]["disk_mb"]) << 20
        # What arrives, by where it will be.
        self._sums: dict[str, str] = {}

    def fetch(self, still_ours: Callable[[], None]) -> None:
        """Bring all back, and the report last. A stage that left no report leaves none here either.

        Args:
            still_ours: raises an error if the builder is not the try's any more. Asked before anything gets its place.

        Raises:
            BuilderUnreachable: the builder was lost.
            BuilderError: what it has for us cannot be taken; nothing of it is where it belongs then.
        """
        data = self._read_report()
        if not data:
            return
        report = parse_report(data)
        incoming, transfer = [self._of_workspace(report)], TRANSFERS[self._request["stage"]]
        # What is reused is here already.
        is_good = report.status is Status.SUCCESS and not report.reuses
        incoming += [self._of_folder(key) for key in transfer.writes if is_good]
        if transfer.writes_file and is_good:
            incoming.append(self._of_file(report, *transfer.writes_file, transfer.about_it))
        here = self._report_here(report)
        still_ours()
        for one in incoming:
            one.put()
        for link in transfer.links if is_good and self._request["promote"] else ():
            self._move(link)
        (self._workspace / REPORT_NAME).write_text(here.model_dump_json(indent=2), encoding="utf-8")

    def _read_report(self) -> bytes:
        path = f"{self._place.root}/workspace/{REPORT_NAME}"
        script = 'test -f "$1" && test ! -L "$1" || exit 0; head -c "$2" -- "$1"'
        words = ["sh", "-c", script, "report", path, str(MAX_REPORT_BYTES + 1)]
        return self._connection.run(words, seconds=self._seconds)

    def _of_workspace(self, report: Report) -> Incoming:
        """Bring the files of the workspace that the report names; none takes the place of one of ours."""
        there = f"{self._place.root}/workspace"
        listed = [
            Listed(one.path.removeprefix(f"{there}/"), one.size, one.sha256)
            for one in {one.path: one for one in report.artifacts}.values()
            if one.path.startswith(f"{there}/")
        ]
        shutil.rmtree(self._workspace / _INCOMING, ignore_errors=True)
        ours = {_INCOMING, *(path.name for path in self._workspace.iterdir())}
        if taken := [one.name for one in listed if one.name.partition("/")[0] in ours]:
            raise BuilderError(f"builder {self._builder} names a file that is ours: {taken[0][:200]!r}")
        return self._bring(there, listed, Incoming(self._workspace / _INCOMING, self._workspace, whole=False))

    def _of_file(self, report: Report, key: str, form: str, about_it: tuple[str, ...]) -> Incoming:
        """Bring the one file a stage writes into a folder that has others. No other name is taken."""
        folder, name = Path(self._request[key]), form.format_map(self._request)
        there = self._place.path_there(folder)
        listed = [Listed(name, one.size, one.sha256) for one in report.artifacts if one.path == f"{there}/{name}"]
        if len(listed) != 1:
            raise BuilderError(f"builder {self._builder} does not report the file {name}, which the stage makes")
        run, this_try = self._place.root.split("/")[-2:]
        beside = folder / f".{run}.{this_try}.new"
        shutil.rmtree(beside, ignore_errors=True)
        return self._bring(there, listed, Incoming(beside, folder, whole=False, about_it=about_it))

    def _move(self, link: Link) -> None:
        """Have a link lead to what was brought back, or was tested."""
        path, target = Path(self._request[link.key], link.name), self._request[link.target]
        move_link(path, path.with_name(target) if link.name else Path(target))

    def _of_folder(self, key: str) -> Incoming:
        """Bring a folder the stage writes, whole."""
        folder = Path(self._request[key])
        there = self._place.path_there(folder)
        listed = listing.of_folder(self._connection, there, largest=self._largest, seconds=self._seconds)
        beside = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(beside, ignore_errors=True)
        return self._bring(there, listed, Incoming(beside, folder, whole=True))

    def _bring(self, there: str, listed: Sequence[Listed], incoming: Incoming) -> Incoming:
        checked = listing.checked(self._builder, listed, largest=self._largest)
        incoming.folder.mkdir(parents=True)
        self._check_room(incoming.folder, sum(one.size for one in checked))
        if checked:
            self._rsync(there, checked, incoming.folder)
        incoming.check(self._builder, checked)
        self._sums |= {str(incoming.target / one.name): one.sha256 for one in checked}
        return incoming

    def _check_room(self, folder: Path, size: int) -> None:
        free, needed = shutil.disk_usage(folder).free, int(self._request["limits"]["free_mb"]) << 20
        if free - size < needed:
            msg = (
                f"the disk is full: {folder} has {free >> 20} MB free, and builder {self._builder} has {size >> 20} MB"
            )
            raise BuilderError(f"{msg} for it; {MAKE_ROOM}")

    def _rsync(self, there: str, listed: Sequence[Listed], folder: Path) -> None:
        """Have rsync write the files into a folder, and let it write nowhere else."""
        box = ["bwrap", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
        box += ["--bind", str(folder), str(folder), "--"]
        words = [*box, "rsync", "--times", "--timeout=30", "--from0", "--files-from=-"]
        words += ["--rsh", shlex.join(self._connection.shell), f"{self._builder}:{there}/", f"{folder}/"]
        names = "".join(f"./{one.name}\0" for one in listed).encode()
        largest = max(one.size for one in listed)
        # Not less than a page: what rsync has to say is a file, too.
        limit = max(largest, _PAGE)
        self._connection.through(words, what="rsync", seconds=self._seconds, stdin=names, largest=limit)

    def _report_here(self, report: Report) -> Report:
        """Return the report with the paths of this machine. What it names of a success must have arrived."""
        data = report.model_dump(mode="json")
        here = Report.model_validate(self._place.here(data))
        arrived = [one for one in here.artifacts if self._sums.get(one.path) == one.sha256]
        if report.status is Status.SUCCESS and len(arrived) < len(here.artifacts):
            missing = next(one for one in here.artifacts if one not in arrived)
            raise BuilderError(f"builder {self._builder} reports {missing.path}, and has no such file for us")
        return here.model_copy(update={"artifacts": arrived})
