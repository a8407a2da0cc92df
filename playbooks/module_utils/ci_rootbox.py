"""The sandbox for what has to look like root: installing packages into a tree, whose scriptlets are package code.

Everything the sandbox of a build takes away stays away (network, processes, files of the builder). Left is the
ownership of files and chroot, which rpm cannot do without.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from ansible.module_utils.ci_sandbox import ISOLATE, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

# Mounts what lies over what where nobody else sees it, and becomes the command behind.
_MOUNT: Final = 'mount -t overlay -o "$0" overlay "$1" && shift && exec "$@"'
_PLAIN: Final = re.compile(r"[^:,\\\\]+")
_CAPABILITIES: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID", "SYS_CHROOT")


def overlay_of(upper: Path) -> Path:
    """Return the folder beside a tree that overlayfs works in."""
    return upper.with_name(f".{upper.name}.overlay")


class RootSandbox(Sandbox):
    """A sandbox whose program is root inside: the builder's without its powers, or the caller in a namespace."""

    looks_like_root: ClassVar[bool] = True

    @property
    def uid(self) -> int:
        """The user id outside: nothing changes hands."""
        return os.geteuid()

    def _namespaces(self) -> list[str]:
        base = ["--die-with-parent", "--new-session", "--clearenv", "--hostname", "builder", "--cap-drop", "ALL"]
        base += [f"--unshare-{name}" for name in ISOLATE]
        base += [word for name in _CAPABILITIES for word in ("--cap-add", f"CAP_{name}")]
        return base if os.geteuid() == 0 else [*base, "--unshare-user", "--uid", "0", "--gid", "0"]

    def _files(self) -> list[str]:
        # The kernel's settings are root's to write, whatever powers it lacks: with core_pattern it runs any program.
        return [*super()._files(), "--remount-ro", "/proc"]

    def _limited(self, *, one_by_one: bool) -> list[str]:  # noqa: ARG002 - of its base class
        """Limit no process by itself in memory and number: root is not, and dnf needs much."""
        return ["prlimit", *self._rlimits(), "--"]

    @contextlib.contextmanager
    def _owned(self) -> Iterator[None]:
        yield


@dataclass
class OverlaySandbox(RootSandbox):
    """The same, for a tree that lies over another one, which nothing inside can write to.

    `upper` is one of the writable folders: inside it shows both, outside what was written. `lower` is seen only there.
    """

    lower: Path = Path()
    upper: Path = Path()

    @property
    def before(self) -> list[str]:
        """Mount the two over each other, in a namespace of the sandbox's own."""
        work = overlay_of(self.upper)
        work.mkdir(exist_ok=True)
        folders = f"lowerdir={self.lower},upperdir={self.upper},workdir={work}"
        options = f"{folders},index=off,metacopy=off,redirect_dir=off"
        return ["unshare", "--mount", "--propagation=private", "sh", "-c", _MOUNT, options, str(self.upper)]

    def works(self) -> bool:
        """Tell whether this builder's kernel and file systems do that; without root nobody may mount."""
        if os.geteuid() != 0 or not all(_PLAIN.fullmatch(str(path)) for path in (self.lower, self.upper)):
            return False
        return subprocess.run([*self.before, "true"], capture_output=True, check=False).returncode == 0
