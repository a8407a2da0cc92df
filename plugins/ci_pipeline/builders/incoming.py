"""A folder of files that came from a builder: checked, then put where they belong."""

import hashlib
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ci_pipeline.builders.listing import Listed
from ci_pipeline.errors import BuilderError

_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o755


@dataclass(frozen=True, slots=True)
class Incoming:
    """Files in a folder beside the place they are for.

    Attributes:
        folder: where they are.
        target: where they belong; on the same file system.
        whole: whether they take the place of the target, or are put into it.
        about_it: how names go on in the target that tell of a file of which another takes the place.
    """

    folder: Path
    target: Path
    whole: bool
    about_it: tuple[str, ...] = ()

    def check(self, builder: str, listed: Sequence[Listed]) -> None:
        """Check that exactly the listed files are there, each as it was on the builder, and let all read them.

        Raises:
            BuilderError: they are not.
        """
        if found := self._names() ^ {one.name for one in listed}:
            raise BuilderError(f"builder {builder} did not give what it listed: {min(found)[:200]!r}")
        for one in listed:
            if _sha256(self.folder / one.name) != one.sha256:
                raise BuilderError(f"{one.name[:200]!r} is not what it was on builder {builder}: its sha256 differs")

    def put(self) -> None:
        """Put the files where they belong."""
        if self.whole:
            _replace(self.folder, self.target)
            return
        for name in sorted(self._names()):
            place = self.target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            for more in self.about_it:
                place.with_name(f"{place.name}{more}").unlink(missing_ok=True)
            (self.folder / name).rename(place)
        shutil.rmtree(self.folder)

    def _names(self) -> set[str]:
        """Return the names of all that is there, folders apart; these get the mode of all others."""
        names = set()
        for folder, folders, files in os.walk(self.folder):
            Path(folder).chmod(_FOLDER_MODE)
            linked = [name for name in folders if Path(folder, name).is_symlink()]
            names |= {str(Path(folder, name).relative_to(self.folder)) for name in [*files, *linked]}
        return names


def _sha256(path: Path) -> str:
    """Return the checksum of a regular file, and give it the mode of all others; of anything else ""."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return ""
    path.chmod(_FILE_MODE)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace(new: Path, target: Path) -> None:
    """Put a folder in the place of one that an earlier try may have left."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def move_link(link: Path, target: Path) -> None:
    """Have a symlink lead to a folder; relative, so that the artifacts folder can move or be served from elsewhere.

    Raises:
        BuilderError: something else is in its place.
    """
    if link.exists() and not link.is_symlink():
        raise BuilderError(f"{link} exists and is not a symlink; move it away")
    link.parent.mkdir(parents=True, exist_ok=True)
    scratch = link.with_name(f".{link.name}.{target.name}.new")
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(os.path.relpath(target, link.parent))
    scratch.replace(link)
