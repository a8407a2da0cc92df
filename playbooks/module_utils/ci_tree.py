"""Give an installed tree the shape of an OSTree commit: /etc in /usr, /var empty, links for the rest.

The tree is written by package code: what looks like a folder may be a symlink to the builder's files, so nothing is
touched before all folders used here have been seen to be real.
"""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_stage import InfrastructureError, PackageError, clean

if TYPE_CHECKING:
    from pathlib import Path

    from ansible.module_utils.ci_stage import StageError

# Names at the top and below /usr that belong to the machine, not to the commit.
_LINKS: Final = {
    "home": "var/home",
    "media": "run/media",
    "mnt": "var/mnt",
    "opt": "var/opt",
    "root": "var/roothome",
    "srv": "var/srv",
    "usr/local": "../var/usrlocal",
}
_EMPTIED: Final = ("dev", "proc", "run", "sys", "tmp", "var", "boot")
# What overlayfs writes at a folder that hides the one below, or is one that was elsewhere.
_GONE: Final = frozenset({"trusted.overlay.opaque", "trusted.overlay.redirect"})
_REAL: Final = (*_LINKS, *_EMPTIED, "etc", "sysroot", "usr/lib/modules", "usr/share/rpm")


def finish(tree: Path, *, has_base: bool) -> None:
    """Shape the tree in place.

    Args:
        tree: the installed tree.
        has_base: whether host-base is installed in it, which brings the folders and the kernel.

    Raises:
        PackageError: a package removed or replaced a folder of the system, or has files where a host's own data lives.
        InfrastructureError: what host-base brings is missing, because it is not among the packages of the host.
    """
    for name in _REAL:
        _require_real(tree, name, has_base=has_base)
    for name in _EMPTIED:
        _empty(tree / name)
    for name, target in _LINKS.items():
        _link(tree, name, target)
    if (tree / "usr" / "etc").exists():
        raise PackageError("a package has files in /usr/etc; they belong in /etc")
    (tree / "etc").rename(tree / "usr" / "etc")
    (tree / "ostree").symlink_to("sysroot/ostree")
    if not list((tree / "usr" / "lib" / "modules").glob("*/vmlinuz")):
        raise _incomplete("kernel", has_base=has_base)


def finish_over(tree: Path) -> bool:
    """Shape in place what was installed over a tree; tell whether it only adds to it, in the shape of a host.

    If not, the whole tree has to be made and looked at: `finish` says what is wrong.
    """
    if not all(_is_real_or_not_there(tree, name) for name in _REAL):
        return False
    for name in filter(lambda name: (tree / name).exists(), _EMPTIED):
        _empty(tree / name)
    links = [tree / name for name in _LINKS if (tree / name).exists()]
    is_odd = any(os.path.lexists(tree / name) for name in ("usr/etc", "ostree")) or not (tree / "usr").is_dir()
    if is_odd or any(list(path.iterdir()) for path in links) or not _only_adds(tree):
        return False
    for path in links:
        path.rmdir()
    if (tree / "etc").exists():
        (tree / "etc").rename(tree / "usr" / "etc")
    return True


def _is_real_or_not_there(tree: Path, name: str) -> bool:
    path = tree
    for part in name.split("/"):
        path /= part
        if not os.path.lexists(path):
            return True
        if not stat.S_ISDIR(path.lstat().st_mode):
            return False
    return True


def _only_adds(tree: Path) -> bool:
    """Tell whether nothing below is gone: overlayfs marks what is by a device, and folders by attributes."""
    for path in (tree, *tree.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISCHR(mode) or (stat.S_ISDIR(mode) and _GONE.intersection(os.listxattr(path))):
            return False
    return True


def _incomplete(what: str, *, has_base: bool) -> StageError:
    if has_base:
        return PackageError(f"a package removed the host's {what}")
    return InfrastructureError(f"the tree has no {what}; add the package host-base to compose.packages")


def _require_real(tree: Path, name: str, *, has_base: bool) -> None:
    path = tree
    for part in name.split("/"):
        path /= part
        if not os.path.lexists(path):
            raise _incomplete(f"folder /{name}", has_base=has_base)
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise PackageError(f"a package replaced the folder /{path.relative_to(tree)} by something else")


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _link(tree: Path, name: str, target: str) -> None:
    inside = sorted(path.name for path in (tree / name).iterdir())
    if inside:
        raise PackageError(f"a package has files in /{name}, which is the host's own: {clean(', '.join(inside), 120)}")
    (tree / name).rmdir()
    (tree / name).symlink_to(target)
