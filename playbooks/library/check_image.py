#!/usr/bin/python
"""Check that an image is the one that was announced, before a provider boots it.

Returns the output `disk`, its path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_image import verified
from ansible.module_utils.ci_stage import Part, run_module

ARGUMENTS: Final[dict[str, Any]] = {
    "image_dir": {"type": "path", "required": True},
    "image_name": {"type": "str", "required": True},
    "image_sha256": {"type": "str", "required": True},
}


def check(params: dict[str, Any]) -> Part:
    """Check it; see the module's docstring."""
    disk = verified(Path(params["image_dir"]), params["image_name"], params["image_sha256"])
    return {"outputs": {"disk": str(disk)}}


if __name__ == "__main__":
    run_module(ARGUMENTS, check)
