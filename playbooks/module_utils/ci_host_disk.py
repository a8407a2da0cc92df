"""A throwaway disk with exactly one commit deployed, and a key to log in with: what the integration tests boot."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible.module_utils.ci_disk import Sysroot, kernel_arguments
from ansible.module_utils.ci_tools import output
from ansible.module_utils.ci_vm import drive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ansible.module_utils.ci_ostree import Repository


@dataclass(frozen=True)
class HostDisk:
    """Its files, all in `folder`, and `arguments`, the kernel's command line as ostree's boot entry has it."""

    folder: Path
    arguments: str = ""

    @property
    def key(self) -> Path:
        """Who has it is let in. It was made for this boot, and lies in the disk's /var: the commit is as it was."""
        return self.folder / "ssh-key"

    @property
    def boot(self) -> list[str]:
        """QEMU's arguments that boot it."""
        kernel = ["-kernel", str(self._kernel), "-initrd", str(self._initrd), "-append", self.arguments]
        return [*kernel, *drive(self._disk, "raw")]

    @classmethod
    def write(cls, repository: Repository, params: Mapping[str, Any], folder: Path) -> HostDisk:
        """Write the disk of `params`: `ref`, `compose_rev`, `arch`, and the `kernel_arguments` of one's own.

        Raises InfrastructureError when there is no such commit, or ostree or mke2fs fails.
        """
        repository.require(params["compose_rev"])
        disk = cls(folder)
        output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", disk.key])
        words = [*kernel_arguments(params["arch"]), *params["kernel_arguments"]]
        return disk._deploy(repository, params["ref"], params["compose_rev"], words)

    def remove(self) -> None:
        """Remove what is there of it."""
        for path in (self._disk, self._kernel, self._initrd, self.key):
            path.unlink(missing_ok=True)

    def _deploy(self, repository: Repository, ref: str, rev: str, words: Sequence[str]) -> HostDisk:
        sysroot = Sysroot(self.folder / "sysroot")
        try:
            boot = sysroot.deploy(repository.path, ref, rev, words)
            sysroot.authorize(self.key.with_suffix(".pub").read_text(encoding="ascii"))
            sysroot.write(self._disk)
            shutil.copy(sysroot.path / boot.kernel, self._kernel)
            shutil.copy(sysroot.path / boot.initrd, self._initrd)
        finally:
            sysroot.remove()
        return HostDisk(self.folder, boot.arguments)

    @property
    def _disk(self) -> Path:
        return self.folder / "disk.raw"

    @property
    def _kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def _initrd(self) -> Path:
        return self.folder / "initramfs.img"
