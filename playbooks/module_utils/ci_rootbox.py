"""The sandbox for what has to look like root: installing packages into a tree, whose scriptlets are package code.

Everything the sandbox of a build takes away stays away (network, processes, files of the builder). Left is the
ownership of files and chroot, which rpm cannot do without.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, ClassVar, Final

from ansible.module_utils.ci_sandbox import ISOLATE, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

_CAPABILITIES: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID", "SYS_CHROOT")


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
