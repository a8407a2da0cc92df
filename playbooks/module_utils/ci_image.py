"""An image: made of a disk under its name, whole or not at all; and as it was announced, known by its sha256."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_ostree import valid_checksum
from ansible.module_utils.ci_stage import InfrastructureError, clean
from ansible.module_utils.ci_tools import Clock, output, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from ansible.module_utils.ci_stage import Part

_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.qcow2")


def verified(folder: Path, name: str, announced: str) -> Path:
    """Return the image's path. Raises InfrastructureError when it is missing, or not the file that was announced."""
    image = folder / name
    if not _NAME.fullmatch(name) or image.is_symlink() or not image.is_file():
        raise InfrastructureError(f"{folder} has no image {clean(name, 120)}; run the stage generate_image")
    found = sha256(image)
    if found != announced:
        raise InfrastructureError(
            f"{name} is not the file that was announced: its sha256 is {found}, not {clean(announced, 80)}"
        )
    return image


def name_of(version: str, rev: str) -> str:
    """Return the name of the image of a compose. Raises InfrastructureError when version or commit is none."""
    if not _VERSION.fullmatch(version):
        raise InfrastructureError(f"{clean(version, 80)!r} is not a version of a compose")
    return f"fedora-atomic-{version}-{valid_checksum(rev)[:15]}.qcow2"


def publish(disk: Path, kind: str, image: Path) -> Part:
    """Make a compressed qcow2 of a disk of this kind, and remove the disk. Returns the outputs of generate_image."""
    image.parent.mkdir(parents=True, exist_ok=True)
    for killed in image.parent.glob(f".{image.name}.*"):
        killed.unlink()
    scratch = image.with_name(f".{image.name}.{os.getpid()}")
    try:
        output(["qemu-img", "convert", "-c", "-f", kind, "-O", "qcow2", disk, scratch])
        for name in (f"{image.name}.intoto.jsonl", f"{image.name}.manifest.json"):
            # They tell of the image that was here before.
            image.with_name(name).unlink(missing_ok=True)
        scratch.replace(image)
    finally:
        scratch.unlink(missing_ok=True)
        disk.unlink()
    outputs = {"image_name": image.name, "image_size": image.stat().st_size, "image_sha256": sha256(image)}
    artifacts = [{"path": str(image), "kind": "image"}]
    return {"outputs": outputs, "artifacts": artifacts, "tool_seconds": Clock.spent()}
