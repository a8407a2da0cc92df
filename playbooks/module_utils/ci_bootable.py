"""A disk with exactly one commit deployed that boots by itself: with a BIOS, by GRUB, on x86_64."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_disk import Sysroot, kernel_arguments
from ansible.module_utils.ci_stage import InfrastructureError
from ansible.module_utils.ci_tools import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible.module_utils.ci_disk import Boot
    from ansible.module_utils.ci_ostree import Repository

GRUB: Final = Path("/usr/lib/grub/i386-pc")
MODULES: Final = ("biosdisk", "ext2", "linux", "normal", "part_msdos")
_SECTOR: Final = 512
_FIRST: Final = 2048  # sectors before the file system: the boot record and GRUB's core
_BOOT_CODE: Final = 440  # bytes of the boot record before the disk's signature and partition table
_LINUX: Final = 0x83


def bootable(repository: Repository, ref: str, rev: str, workspace: Path, words: Sequence[str] = ()) -> Path:
    """Write the disk, raw, to the workspace; `words` are added to the kernel's command line."""
    repository.require(rev)
    disk = workspace / "disk.raw"
    sysroot = Sysroot(workspace / "sysroot")
    try:
        boot = sysroot.deploy(repository.path, ref, rev, [*kernel_arguments("x86_64"), *words])
        _configure(sysroot.path, boot)
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
