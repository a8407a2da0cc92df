#!/usr/bin/python
"""Remove the folder of a lease whose hosts are returned: its key, its request, its list. Gone already is no failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_lease import Lease
from ansible.module_utils.ci_stage import Part, run_module

ARGUMENTS: Final[dict[str, Any]] = {
    "lease": {"type": "str", "required": True},
    "folder": {"type": "path", "required": True},
}


def end(params: dict[str, Any]) -> Part:
    """Remove it; see the module's docstring."""
    return {"outputs": {"was_there": Lease(Path(params["folder"]), params["lease"]).remove()}}


if __name__ == "__main__":
    run_module(ARGUMENTS, end)
