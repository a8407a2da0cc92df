"""A disk of a few megabytes, for the tests of what happens when one is full."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class SmallDisk:
    """A tmpfs mounted at `path`, which can be filled up and given room again."""

    path: Path

    def fill(self, *, but_kb: int = 0) -> None:
        """Take all room but so many KiB."""
        with (self.path / "filler").open("wb", buffering=0) as file:
            with contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    pass
            file.truncate(max(0, file.tell() - but_kb * 1024))

    def grow(self, megabytes: int) -> None:
        """Make the disk larger, and remove what filled it."""
        (self.path / "filler").unlink(missing_ok=True)
        subprocess.run(["mount", "-o", f"remount,size={megabytes}m", str(self.path)], check=True)
