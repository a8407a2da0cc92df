#!/usr/bin/python
"""Write the branch's image: a compressed qcow2 with exactly `compose_rev` deployed, booting by itself (BIOS, GRUB).

Its name is fedora-atomic-<version>-<first 15 digits of compose_rev>.qcow2; it appears in `image_dir` whole or not at
all. It holds no key and no password: who may log in is the business of whoever starts it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_disk import Boot, Sysroot, kernel_arguments
from ansible.module_utils.ci_image import name_of, publish
from ansible.module_utils.ci_ostree import Repository
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module
from ansible.module_utils.ci_tools import output

ARGUMENTS: Final[dict[str, Any]] = {
    "ostree_repo": {"type": "path", "required": True},
    "compose_rev": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "arch": {"type": "str", "default": "x86_64"},
    "ref": {"type": "str", "required": True},
    "image_dir": {"type": "path", "required": True},
    "workspace": {"type": "path", "required": True},
}
GRUB: Final = Path("/usr/lib/grub/i386-pc")
MODULES: Final = ("biosdisk", "ext2", "linux", "normal", "part_msdos")
_SECTOR: Final = 512
_FIRST: Final = 2048  # sectors before the file system: the boot record and GRUB's core
_BOOT_CODE: Final = 440  # bytes of the boot record before the disk's signature and partition table
_LINUX: Final = 0x83


def write(params: dict[str, Any]) -> Part:
    """Write the image; see the module's docstring. Returns the outputs of generate_image."""
    if params["arch"] != "x86_64":
        raise InfrastructureError(
            'without an image builder there are images for x86_64 alone; set image.builder = "image-builder"'
        )
    image = Path(params["image_dir"]) / name_of(params["version"], params["compose_rev"])
    return publish(_disk(params, params["compose_rev"], Path(params["workspace"])), "raw", image)


def _disk(params: dict[str, Any], rev: str, workspace: Path) -> Path:
    repository = Repository(Path(params["ostree_repo"]))
    repository.require(rev)
    disk = workspace / "disk.raw"
    sysroot = Sysroot(workspace / "sysroot")
    try:
        _configure(sysroot.path, sysroot.deploy(repository.path, params["ref"], rev, kernel_arguments("x86_64")))
        # GRUB does not read file systems with a checksum seed of their own.
        sysroot.write(disk, ["-O", "^metadata_csum_seed", "-E", f"offset={_FIRST * _SECTOR}"])
        sectors = sysroot.size_mb() * (1 << 20) // _SECTOR
    finally:
        sysroot.remove()
    _make_bootable(disk, _core(workspace), sectors)
    return disk


def _configure(root: Path, boot: Boot) -> None:
    folder = root / "boot" / "grub"
    folder.mkdir()
    # No menu: the image has one deployment, and nobody sits at its screen.
    lines = ["set root=(hd0,msdos1)", f"linux /{boot.kernel} {boot.arguments}", f"initrd /{boot.initrd}", "boot"]
    (folder / "grub.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _core(workspace: Path) -> bytes:
    """Return GRUB's core: what the boot record loads, and what reads grub.cfg from the file system."""
    if not (GRUB / "boot.img").is_file():
        raise InfrastructureError("GRUB for BIOS is not installed on this builder; install grub-pc-bin and grub-common")
    core = workspace / "core.img"
    output(["grub-mkimage", "-O", "i386-pc", "-d", GRUB, "-p", "(hd0,msdos1)/boot/grub", "-o", core, *MODULES])
    content = core.read_bytes()
    if len(content) > (_FIRST - 1) * _SECTOR:
        raise InfrastructureError(f"GRUB's core of {len(content)} bytes does not fit before the file system")
    core.unlink()
    return content


def _make_bootable(disk: Path, core: bytes, sectors: int) -> None:
    """Write boot code, a table of one active partition, and GRUB's core behind it, where boot.img looks for it."""
    no_chs = b"\xfe\xff\xff"
    entry = struct.pack("<B3sB3sII", 0x80, no_chs, _LINUX, no_chs, _FIRST, sectors)
    record = (GRUB / "boot.img").read_bytes()[:_BOOT_CODE].ljust(_BOOT_CODE + 6, b"\0") + entry
    with disk.open("r+b") as file:
        file.truncate((_FIRST + sectors) * _SECTOR)
        file.write(record.ljust(_SECTOR - 2, b"\0") + b"\x55\xaa" + core)


if __name__ == "__main__":
    run_module(ARGUMENTS, write)
