"""A disk with exactly one commit deployed on it, made without a mount: ostree's deployment, then an ext4 of that."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_ostree import valid_checksum, valid_ref
from ansible.module_utils.ci_stage import InfrastructureError
from ansible.module_utils.ci_tools import as_root, output
from ansible.module_utils.ci_vm import CONSOLES

if TYPE_CHECKING:
    from collections.abc import Sequence

OS_NAME: Final = "atomic-host"
LABEL: Final = "root"
DISK_MB: Final = 1024
_FULL: Final = 0.7


def kernel_arguments(arch: str) -> list[str]:
    """Return what the kernel of a host is told; a panic ends the machine instead of hanging it."""
    return [f"root=LABEL={LABEL}", "rw", f"console={CONSOLES[arch]}", "panic=-1"]


@dataclass(frozen=True)
class Boot:
    """What the boot loader starts, as the deployment's own boot entry has it. Paths are relative to the disk's root."""

    kernel: Path
    initrd: Path
    arguments: str


class Sysroot:
    """The future content of a disk, in the folder `path`."""

    def __init__(self, path: Path) -> None:
        """Take the path of a folder to create."""
        self.path = path
        self.repo = path / "ostree" / "repo"

    def deploy(self, source: Path, ref: str, rev: str, kernel_arguments: Sequence[str]) -> Boot:
        """Deploy the commit `rev` of the repository `source` as `ref` and return how to boot it."""
        self.path.mkdir()
        self._admin("init-fs", self.path)
        self._admin("os-init", f"--sysroot={self.path}", OS_NAME)
        # The image brings its own boot loader configuration; ostree is not to run one of this builder's.
        output(["ostree", "config", f"--repo={self.repo}", "set", "sysroot.bootloader", "none"])
        output(as_root(["ostree", "pull-local", f"--repo={self.repo}", source, valid_checksum(rev)]))
        output(["ostree", "refs", f"--repo={self.repo}", f"--create={valid_ref(ref)}", rev])
        arguments = [f"--karg={word}" for word in kernel_arguments]
        self._admin("deploy", f"--sysroot={self.path}", f"--os={OS_NAME}", *arguments, ref)
        if not (self.path / "ostree" / "deploy" / OS_NAME / "deploy" / f"{rev}.0").is_dir():
            raise InfrastructureError(f"ostree deployed something else than {rev}")
        return self._boot_entry()

    def authorize(self, public_key: str) -> None:
        """Let a key log in as root on this disk: in /var, which belongs to no commit."""
        folder = self.path / "ostree" / "deploy" / OS_NAME / "var" / "roothome" / ".ssh"
        folder.mkdir(parents=True)
        for path in (folder.parent, folder):
            path.chmod(0o700)
        (folder / "authorized_keys").write_text(public_key, encoding="ascii")
        (folder / "authorized_keys").chmod(0o600)

    def write(self, disk: Path, options: Sequence[str] = ()) -> None:
        """Write the ext4 file system to `disk`; `options` are mke2fs's."""
        output(
            as_root(["mke2fs", "-q", "-t", "ext4", "-L", LABEL, "-d", self.path, *options, disk, f"{self.size_mb()}M"])
        )

    def size_mb(self) -> int:
        """Return the size of the file system in MiB: 1 GiB unless the content needs more."""
        used = int(output(["du", "--summarize", "--block-size=1M", self.path]).split()[0])
        return DISK_MB if used < DISK_MB * _FULL else used * 2

    def remove(self) -> None:
        """Remove the folder. ostree makes the root of a deployment immutable, so rm alone could not."""
        for deployment in (self.path / "ostree" / "deploy" / OS_NAME / "deploy").glob("*.[0-9]"):
            output(as_root(["chattr", "-i", deployment]))
        shutil.rmtree(self.path, ignore_errors=True)

    def _admin(self, verb: str, *arguments: str | Path) -> None:
        output(as_root(["ostree", "admin", verb, *arguments]))

    def _boot_entry(self) -> Boot:
        entries = sorted((self.path / "boot" / "loader" / "entries").glob("*.conf"))
        if len(entries) != 1:
            raise InfrastructureError(f"ostree wrote {len(entries)} boot entries for one deployment")
        lines = entries[0].read_text(encoding="utf-8").splitlines()
        values = {key: value.strip() for key, _, value in (line.partition(" ") for line in lines)}
        return Boot(self._on_disk(values["linux"]), self._on_disk(values["initrd"]), values["options"])

    def _on_disk(self, entry: str) -> Path:
        """Return a boot entry's path relative to the root of the disk; entries count from /boot or from /."""
        inside = Path(entry.lstrip("/"))
        return inside if (self.path / inside).is_file() else Path("boot") / inside
