#!/usr/bin/python
"""Retire what Duffy lent for a lease: its session, or one whose answer never came. Gone already is no failure.

Returns the output `returned`, the number of sessions that went on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_duffy import ARGUMENTS as COMMON
from ansible.module_utils.ci_duffy import Duffy
from ansible.module_utils.ci_duffy_lease import Sessions
from ansible.module_utils.ci_lease import Lease
from ansible.module_utils.ci_stage import Part, run_module

ARGUMENTS: Final[dict[str, Any]] = COMMON


def give_back(params: dict[str, Any]) -> Part:
    """Retire it; see the module's docstring."""
    duffy = Duffy.given(params)
    sessions = Sessions(duffy, Lease(Path(params["folder"]), params["lease"]), params["pool"])
    with sessions.alone():
        retired = [number for number in sessions.numbers() if duffy.retire(number)]
        sessions.forget()
    return {"outputs": {"returned": len(retired)}}


if __name__ == "__main__":
    run_module(ARGUMENTS, give_back)
