"""Bringing to a builder what a stage reads, into a folder of the try's own."""

import shlex
import subprocess
import tempfile
from pathlib import Path, PurePosixPath
from typing import Final

from ci_pipeline.builders.connection import Connection
from ci_pipeline.builders.place import Place
from ci_pipeline.errors import BuilderError
from ci_pipeline.executors.base import Request
from ci_pipeline.transfers import TRANSFERS

# A stage that lost its builder leaves its folder behind.
_DAYS: Final = 2
_PREPARE: Final = f"""\
umask 022
mkdir -p "$1/cache" "$1/runs" &&
rm -rf "$2" &&
mkdir -p "$2/workspace" "$2/artifacts" &&
find "$1/runs" -mindepth 3 -maxdepth 3 -mtime +{_DAYS} -exec rm -rf {{}} +
"""


class Sending:
    """Brings there what the stage of a request reads."""

    def __init__(self, connection: Connection, place: Place, request: Request) -> None:
        """Take the builder's connection, the try's place, and its request as it is for this machine."""
        self._connection, self._place, self._request = connection, place, request
        self._seconds = float(request["limits"]["seconds"])

    def send(self) -> None:
        """Make the try's folder on the builder, and bring there what its stage reads.

        Raises:
            BuilderUnreachable: the builder was lost.
            BuilderError: it has no room, lacks a tool, or does not let us write.
        """
        prepare = ["sh", "-c", _PREPARE, "prepare", self._place.folder, self._place.root]
        self._connection.run(prepare, seconds=self._seconds)
        transfer = TRANSFERS[self._request["stage"]]
        for key in transfer.reads:
            self._folder(Path(self._request[key]), Path(self._request[key]))
        if transfer.reads_file:
            folder, name = (self._request[key] for key in transfer.reads_file)
            self._file(Path(folder, name))
        if transfer.reads_commit:
            repository, commit = (self._request[key] for key in transfer.reads_commit)
            self._commit(Path(repository), commit)

    def tidy_up(self) -> None:
        """Remove the try's folder on the builder."""
        self._connection.run(["rm", "-rf", self._place.root], seconds=60)

    def _folder(self, here: Path, place: Path) -> None:
        if here.is_dir():
            self._rsync(f"{here}/", f"{self._place.path_there(place)}/")

    def _file(self, here: Path) -> None:
        # What is no plain file is none for the stage either, and it says so.
        if here.is_file() and not here.is_symlink():
            self._rsync(str(here), self._place.path_there(here))

    def _commit(self, repository: Path, commit: str) -> None:
        """Bring a repository there that has nothing but this commit. One without it stays away: the stage says so."""
        with tempfile.TemporaryDirectory(dir=self._request["workspace"], prefix=".sending-") as folder:
            part = Path(folder, "repo")
            _ostree("init", f"--repo={part}", "--mode=archive")
            if _ostree("pull-local", f"--repo={part}", str(repository), commit):
                self._folder(part, repository)

    def _rsync(self, here: str, there: str) -> None:
        above = str(PurePosixPath(there).parent)
        self._connection.run(["mkdir", "-p", above], seconds=self._seconds)
        words = ["rsync", "--recursive", "--times", "--checksum", "--timeout=30"]
        words += ["--rsh", shlex.join(self._connection.shell), here, f"{self._connection.builder.name}:{there}"]
        self._connection.through(words, what="rsync", seconds=self._seconds)


def _ostree(*arguments: str) -> bool:
    """Run ostree and tell whether it went well.

    Raises:
        BuilderError: it is not installed.
    """
    try:
        return subprocess.run(["ostree", *arguments], check=False, capture_output=True).returncode == 0  # noqa: S603, S607
    except OSError as error:
        raise BuilderError(f"ostree cannot be run on the pipeline's own machine: {error}") from error
