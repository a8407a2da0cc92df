#!/usr/bin/python
"""Run playbooks of an installer, one after the other, with an ansible-playbook of its own and its own ansible.cfg.

What they say is added to the log. The first that fails is the last, and its complaint the failure's sentence.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from ansible.module_utils.ci_process import end_group, end_with_ancestors, start_ticks
from ansible.module_utils.ci_sandbox import last_line, require
from ansible.module_utils.ci_stage import InfrastructureError, Part, clean, run_module
from ansible.module_utils.ci_tools import Clock

ARGUMENTS: Final[dict[str, Any]] = {
    "program": {"type": "str", "required": True},
    "folder": {"type": "path", "required": True},
    "playbooks": {"type": "list", "elements": "str", "required": True},
    "inventory": {"type": "path", "required": True},
    "log": {"type": "path", "required": True},
    "seconds": {"type": "float", "required": True},
}
# Nothing of the Ansible that runs this module: neither its settings nor its libraries.
_PASSED_ON: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
# Its workers lead sessions of their own, and its SSH connections outlive it: a namespace of processes ends as a whole.
_ALL_OF_IT: Final = ("--pid", "--fork", "--kill-child")
_OWN_USER: Final = ("--user", "--map-current-user")
# The last line of ansible-playbook is a sum; these say what went wrong.
_COMPLAINT: Final = re.compile(r"^(?:fatal: |ERROR! |\[ERROR\]: ).*", re.MULTILINE)


def run_playbooks(params: dict[str, Any]) -> Part:
    """Run them; see the module's docstring."""
    program, folder = require(params["program"]), Path(params["folder"])
    end = time.monotonic() + params["seconds"]
    for name in params["playbooks"]:
        if not (folder / name).is_file():
            raise InfrastructureError(f"the installer's checkout {folder} has no {name}")
    for name in params["playbooks"]:
        _play([program, f"--inventory={params['inventory']}", name], params, end)
    return {"tool_seconds": Clock.spent()}


def _play(command: list[str], params: dict[str, Any], end: float) -> None:
    name, path = command[-1], Path(params["log"])
    with path.open("ab") as log, Clock.running():
        began = log.tell()
        log.write(f"== {name}\n".encode())
        log.flush()
        code = _wait(_start(command, params["folder"], log), end)
    with path.open("rb") as log:
        log.seek(began)
        said = log.read().decode("utf-8", "replace")
    if code is None:
        message = f"{name} did not end within {params['seconds']:.0f} seconds; its last line: {last_line(said)}"
        raise InfrastructureError(message)
    if code != 0:
        complaints = _COMPLAINT.findall(said)
        raise InfrastructureError(f"{name} failed: {clean(complaints[-1], 300) if complaints else last_line(said)}")


def _start(command: list[str], folder: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [require("unshare"), *_ALL_OF_IT, *([] if os.geteuid() == 0 else _OWN_USER), "--", *command],
        cwd=folder,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    end_with_ancestors(partial(end_group, process.pid, start_ticks(process.pid)))
    return process


def _wait(process: subprocess.Popen[bytes], end: float) -> int | None:
    """Return the exit code, None when its time is up. All it started goes with it."""
    try:
        return process.wait(timeout=max(end - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    run_module(ARGUMENTS, run_playbooks)
