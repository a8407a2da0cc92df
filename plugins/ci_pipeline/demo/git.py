"""Git for the demo: run as its packager, whatever the user's own configuration says."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ci_pipeline.errors import StackError

PACKAGER: Final = "Demo Packager"
EMAIL: Final = "packager@example.org"
ACCOUNT: Final = "packager"
_SECONDS: Final = 120


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it says on both outputs: the remote's answer to a push is on stderr.

    Raises:
        StackError: it failed; the text has its last line.
    """
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        msg = "git is not installed; run `make setup`"
        raise StackError(msg) from error
    except subprocess.TimeoutExpired as error:
        msg = f"git {arguments[0]} in {folder} did not end within {_SECONDS} s; is the broker up? `ci-pipeline status`"
        raise StackError(msg) from error
    if done.returncode:
        last = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
        msg = f"git {arguments[0]} in {folder} failed: {last}"
        raise StackError(msg)
    return done.stdout


def _environment() -> Mapping[str, str]:
    # A hook or alias of the caller's would be run, a GIT_DIR would lead elsewhere.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return {
        **inherited,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": PACKAGER,
        "GIT_AUTHOR_EMAIL": EMAIL,
        "GIT_COMMITTER_NAME": PACKAGER,
        "GIT_COMMITTER_EMAIL": EMAIL,
        # The account a push is made with; the hook's `agent`.
        "LOGNAME": ACCOUNT,
        "LC_ALL": "C.UTF-8",
    }
