"""The programs that retention runs: rm, du and ostree. Nothing goes through a shell."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from ci_pipeline.errors import RetentionError

# A whole branch's history may go at once; a pass that takes longer than this hangs.
_SECONDS: Final = 1800
_LONGEST: Final = 300


def run(program: str, *arguments: str, folder: str | Path = "/") -> subprocess.CompletedProcess[str]:
    """Run a program in a folder and return how it ended.

    Raises:
        RetentionError: it is not installed, or hangs.
    """
    found = shutil.which(program)
    if found is None:
        msg = f"{program} is not installed here; run `make setup`"
        raise RetentionError(msg)
    try:
        return subprocess.run(  # noqa: S603
            [found, *arguments],
            cwd=folder,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        msg = f"{program} did not end within {_SECONDS} s"
        raise RetentionError(msg) from error


def last_words(ran: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of what a program complained of."""
    lines = (ran.stderr or ran.stdout).strip().splitlines()
    return lines[-1][:_LONGEST] if lines else f"it ended with {ran.returncode}"
