"""The world of a functional test: the candidate's packages laid over this builder's /usr, without touching either.

The packages are unpacked into one folder (what a test sees as TEST_ROOT). A second folder holds the same files, and for
all that they do not have a symlink to the builder's own, which the sandbox shows under HOST: that folder becomes the
test's /usr.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_sandbox import Sandbox, require, shared_folder
from ansible.module_utils.ci_stage import InfrastructureError, PackageError, clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOST: Final = "/.builder"
PACKAGES: Final = "/packages"
ROOT: Final = "/testroot"
# Of /etc, what the sandbox itself needs stays the sandbox's.
_OWN_ETC: Final = (
    "passwd",
    "group",
    "hosts",
    "nsswitch.conf",
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "rpm",
)
_UNPACK: Final = 'for rpm in "$@"; do rpm2cpio "$rpm" | cpio -idmu --quiet --no-absolute-filenames || exit 1; done'


def binary_rpms(package_repo: Path) -> list[str]:
    """Return the file names of the run's binary packages. Raises InfrastructureError when there are none."""
    names = sorted(path.name for path in package_repo.glob("*.rpm") if not path.name.endswith(".src.rpm"))
    if not names:
        raise InfrastructureError(f"{package_repo} holds no binary packages to test; build the package first")
    return names


def unpack(names: Sequence[str], package_repo: Path, workspace: Path, limits: Mapping[str, Any]) -> Path:
    """Unpack the packages into <workspace>/testroot, in the sandbox: an archive may hold any path."""
    for tool in ("rpm2cpio", "cpio"):
        require(tool)
    root = workspace / "testroot"
    root.mkdir()
    sandbox = Sandbox(workspace, limits, writable={ROOT: root}, readable={PACKAGES: package_repo}, folder=ROOT)
    ran = sandbox.run(["sh", "-c", _UNPACK, "unpack", *(f"{PACKAGES}/{name}" for name in names)])
    if ran.returncode != 0:
        raise PackageError(f"the packages cannot be unpacked: {clean(ran.stderr, 200)}")
    return root


def over_host(root: Path, workspace: Path) -> list[str]:
    """Return bwrap arguments that lay the unpacked packages over the builder's /usr, /etc, /opt and /var."""
    words: list[str] = []
    if (root / "usr").is_dir() and not (root / "usr").is_symlink():
        union = workspace / "usr"
        shutil.copytree(root / "usr", union, symlinks=True, copy_function=os.link)
        _fill(union, Path("/usr"))
        words += [*shared_folder(HOST), "--ro-bind", "/usr", f"{HOST}/usr", "--ro-bind", str(union), "/usr"]
    for top in ("etc", "opt", "var"):
        folder = root / top
        if folder.is_dir() and not folder.is_symlink():
            words += [word for path in sorted(folder.iterdir()) for word in _entry(path, f"/{top}/{path.name}")]
    return words


def _fill(union: Path, host: Path) -> None:
    for entry in os.scandir(host):
        mine = union / entry.name
        if mine.is_dir() and not mine.is_symlink() and entry.is_dir(follow_symlinks=False):
            _fill(mine, Path(entry.path))
        elif not os.path.lexists(mine):
            mine.symlink_to(f"{HOST}{entry.path}")


def _entry(path: Path, inside: str) -> list[str]:
    if path.name in _OWN_ETC or inside == "/var/tmp":  # noqa: S108
        return []
    # bwrap would follow a symlink outside, where it leads to the builder's own files.
    return ["--symlink", str(path.readlink()), inside] if path.is_symlink() else ["--ro-bind", str(path), inside]
