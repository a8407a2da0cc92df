#!/usr/bin/python
"""Check that a machine can carry a stage out before it begins.

It is of the architecture that is needed, has the tools of the toolchain, and on the file systems the stage works on at
least `limits.free_mb` MiB each.
It comes first in every stage: `began` is when the stage did, on the builder's monotonic clock.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from ansible.module_utils import ci_toolchain
from ansible.module_utils.ci_space import shortage
from ansible.module_utils.ci_stage import DiskFullError, Part, run_module

ARGUMENTS: Final[dict[str, Any]] = {
    "workspace": {"type": "path", "required": True},
    "artifacts": {"type": "path", "required": True},
    "cache": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
    "stage": {"type": "str", "required": True},
    "toolchain": {"type": "str", "required": True},
    "arch": {"type": "str", "required": True},
    "image_builder": {"type": "str", "default": "ostree"},
    "koji": {"type": "bool", "default": False},
}


def check(params: dict[str, Any]) -> Part:
    """Raise InfrastructureError when it cannot, DiskFullError when there is no room."""
    ci_toolchain.check(params)
    needed = int(params["limits"]["free_mb"])
    if short := shortage([Path(params[name]) for name in ("workspace", "artifacts", "cache")], needed):
        raise DiskFullError(f"{short}, and a stage needs {needed} (limits.free_mb)")
    return {"began": time.monotonic()}


if __name__ == "__main__":
    run_module(ARGUMENTS, check)
