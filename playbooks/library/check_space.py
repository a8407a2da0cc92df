#!/usr/bin/python
"""Check that the file systems a stage works on have room before it begins: at least `limits.free_mb` MiB each.

It comes first in every stage: `began` is when the stage did, on the builder's monotonic clock.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_space import shortage
from ansible.module_utils.ci_stage import DiskFullError, Part, run_module

ARGUMENTS: Final[dict[str, Any]] = {
    "workspace": {"type": "path", "required": True},
    "artifacts": {"type": "path", "required": True},
    "cache": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
}


def check(params: dict[str, Any]) -> Part:
    """Raise DiskFullError when one of them has less."""
    needed = int(params["limits"]["free_mb"])
    if short := shortage([Path(params[name]) for name in ("workspace", "artifacts", "cache")], needed):
        raise DiskFullError(f"{short}, and a stage needs {needed} (limits.free_mb)")
    return {"began": time.monotonic()}


if __name__ == "__main__":
    run_module(ARGUMENTS, check)
