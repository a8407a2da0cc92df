#!/usr/bin/python
"""Tell what a builder builds with: the versions of the pipeline and of the tools, as the output `builder`."""

from __future__ import annotations

import platform
import re
import shutil
from typing import Any, Final

from ansible.module_utils.ci_stage import Part, run_module
from ansible.module_utils.ci_tools import run

ARGUMENTS: Final[dict[str, Any]] = {"pipeline_version": {"type": "str", "required": True}}
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


def versions(params: dict[str, Any]) -> Part:
    """Return the versions of what is installed; a tool that is missing is the stage's own to complain of."""
    found = {"ci-pipeline": params["pipeline_version"], "kernel": platform.release()}
    for name, command in _TOOLS.items():
        if shutil.which(command[0]) and (told := _VERSION.search(run(command).stdout)):
            found[name] = told.group()
    return {"outputs": {"builder": {name: version for name, version in sorted(found.items()) if version}}}


if __name__ == "__main__":
    run_module(ARGUMENTS, versions)
