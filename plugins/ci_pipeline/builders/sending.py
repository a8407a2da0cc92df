"""Bringing to a builder what a stage reads, into a folder of the try's own."""

import shlex
from pathlib import Path, PurePosixPath
from typing import Final

from ci_pipeline.builders.connection import Connection
from ci_pipeline.builders.place import Place
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


def send(connection: Connection, place: Place, request: Request) -> None:
    """Make the try's folder on the builder, and bring there what its stage reads.

    Args:
        connection: to the builder.
        place: of the try.
        request: as it is for this machine.

    Raises:
        BuilderUnreachable: the builder was lost.
        BuilderError: it has no room, lacks a tool, or does not let us write.
    """
    seconds = float(request["limits"]["seconds"])
    connection.run(["sh", "-c", _PREPARE, "prepare", place.folder, place.root], seconds=seconds)
    for key in TRANSFERS[request["stage"]].reads:
        if Path(request[key]).is_dir():
            _send_folder(connection, Path(request[key]), place.there(request[key]), seconds)


def tidy_up(connection: Connection, place: Place) -> None:
    """Remove the try's folder on the builder."""
    connection.run(["rm", "-rf", place.root], seconds=60)


def _send_folder(connection: Connection, here: Path, there: str, seconds: float) -> None:
    connection.run(["mkdir", "-p", str(PurePosixPath(there).parent)], seconds=seconds)
    words = [
        "rsync",
        "--recursive",
        "--times",
        "--checksum",
        "--delete",
        "--timeout=30",
        "--rsh",
        shlex.join(connection.shell),
    ]
    connection.through([*words, f"{here}/", f"{connection.builder.name}:{there}/"], what="rsync", seconds=seconds)
