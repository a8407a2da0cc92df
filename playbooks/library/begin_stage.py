#!/usr/bin/python
"""Look at a machine before a stage begins there: can it carry the stage out, and what does it work with?

It has to be of the architecture that is needed, to have the tools of the toolchain, and on the file systems the stage
works on at least `limits.free_mb` MiB each. Returns `began`, when the stage did, on the builder's monotonic clock; and
with `versions` the output `builder`, the versions of the pipeline and of the tools.
"""

from __future__ import annotations

import platform
import re
import shutil
import time
from pathlib import Path
from typing import Any, Final

from ansible.module_utils import ci_toolchain
from ansible.module_utils.ci_space import shortage
from ansible.module_utils.ci_stage import DiskFullError, Part, run_module
from ansible.module_utils.ci_tools import Clock, run

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
    "versions": {"type": "bool", "default": False},
    "pipeline_version": {"type": "str", "default": ""},
}
_TOOLS: Final = {
    "rpm": ("rpm", "--version"),
    "createrepo_c": ("createrepo_c", "--version"),
    "ostree": ("ostree", "--version"),
    "qemu": ("qemu-img", "--version"),
    "mock": ("mock", "--version"),
    "rpm-ostree": ("rpm-ostree", "--version"),
    "image-builder": ("image-builder", "version"),
}
_VERSION: Final = re.compile(r"\d+(?:\.\d+)+[A-Za-z0-9.+~-]*")


def begin(params: dict[str, Any]) -> Part:
    """Raise InfrastructureError when the machine cannot, DiskFullError when there is no room."""
    began = time.monotonic()
    ci_toolchain.check(params)
    needed = int(params["limits"]["free_mb"])
    if short := shortage([Path(params[name]) for name in ("workspace", "artifacts", "cache")], needed):
        raise DiskFullError(f"{short}, and a stage needs {needed} (limits.free_mb)")
    told = {"outputs": {"builder": versions(params["pipeline_version"])}} if params["versions"] else {}
    return {"began": began, "tool_seconds": Clock.spent(), **told}


def versions(pipeline: str) -> dict[str, str]:
    """Return the versions of what is installed; a tool that is missing is the stage's own to complain of."""
    found = {"ci-pipeline": pipeline, "kernel": platform.release()}
    for name, command in _TOOLS.items():
        if shutil.which(command[0]) and (told := _VERSION.search(run(command).stdout)):
            found[name] = told.group()
    return {name: version for name, version in sorted(found.items()) if version}


if __name__ == "__main__":
    run_module(ARGUMENTS, begin)
