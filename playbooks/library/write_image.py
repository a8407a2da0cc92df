#!/usr/bin/python
"""Write the branch's image: a compressed qcow2 with exactly `compose_rev` deployed, booting by itself (BIOS, GRUB).

Its name is fedora-atomic-<version>-<first 15 digits of compose_rev>.qcow2; it appears in `image_dir` whole or not at
all. It holds no key and no password: who may log in is the business of whoever starts it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_bootable import bootable
from ansible.module_utils.ci_image import name_of, publish
from ansible.module_utils.ci_ostree import Repository
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module

ARGUMENTS: Final[dict[str, Any]] = {
    "ostree_repo": {"type": "path", "required": True},
    "compose_rev": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "arch": {"type": "str", "default": "x86_64"},
    "ref": {"type": "str", "required": True},
    "image_dir": {"type": "path", "required": True},
    "workspace": {"type": "path", "required": True},
}


def write(params: dict[str, Any]) -> Part:
    """Write the image; see the module's docstring. Returns the outputs of generate_image."""
    if params["arch"] != "x86_64":
        raise InfrastructureError(
            'without an image builder there are images for x86_64 alone; set image.builder = "image-builder"'
        )
    image = Path(params["image_dir"]) / name_of(params["version"], params["compose_rev"])
    repository = Repository(Path(params["ostree_repo"]))
    return publish(bootable(repository, params["ref"], params["compose_rev"], Path(params["workspace"])), "raw", image)


if __name__ == "__main__":
    run_module(ARGUMENTS, write)
