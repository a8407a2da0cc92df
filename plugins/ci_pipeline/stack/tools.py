"""Programs of the machine that the stack runs."""

import shutil
from pathlib import Path

from ci_pipeline.errors import StackError


def find(name: str, *places: str) -> str:
    """Return the path of a program.

    Args:
        name: its name.
        places: glob patterns to look at before PATH; of several matches the highest version wins.

    Raises:
        StackError: it is not installed.
    """
    for place in places:
        matches = sorted(Path("/").glob(place.lstrip("/")), key=_version)
        if matches:
            return str(matches[-1])
    found = shutil.which(name)
    if found is None:
        msg = f"{name} is not installed; run `make setup`"
        raise StackError(msg)
    return found


def _version(path: Path) -> list[tuple[int, str]]:
    return [(int(part) if part.isdigit() else 0, part) for part in path.parts]
