"""An image as it was announced: a file of a name in a folder, known by its sha256."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_stage import InfrastructureError, clean

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.qcow2")


def verified(folder: Path, name: str, sha256: str) -> Path:
    """Return the image's path. Raises InfrastructureError when it is missing, or not the file that was announced."""
    image = folder / name
    if not _NAME.fullmatch(name) or image.is_symlink() or not image.is_file():
        raise InfrastructureError(f"{folder} has no image {clean(name, 120)}; run the stage generate_image")
    with image.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise InfrastructureError(
            f"{name} is not the file that was announced: its sha256 is {found}, not {clean(sha256, 80)}"
        )
    return image
