#!/usr/bin/python
"""Make the base OS packages: Debian's own binaries as RPMs, once, kept in the cache.

The set is keyed by what it is made of (`kernel`, `packages`, `files`), so a changed recipe makes a new one and runs at
the same time share one. `base_repo` becomes a symlink to it; a folder with a repository of the operator's own is used
as it is. Remove the folder `base-os` of the cache to take Debian's newer versions.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module
from ansible.module_utils.ci_tools import Clock, last_line, locked, output, run, switch_link

ARGUMENTS: Final[dict[str, Any]] = {
    "base_repo": {"type": "path", "required": True},
    "cache": {"type": "path", "required": True},
    "workspace": {"type": "path", "required": True},
    "kernel": {"type": "str", "required": True},
    "packages": {"type": "list", "elements": "str", "required": True},
    "files": {"type": "dict", "required": True},
}
_DIGITS: Final = 15


def make(params: dict[str, Any]) -> Part:
    """Make the packages unless they are there, and point `base_repo` at them; see the module's docstring."""
    base_repo = Path(params["base_repo"])
    if base_repo.is_dir() and not base_repo.is_symlink():
        if not (base_repo / "repodata" / "repomd.xml").is_file():
            raise InfrastructureError(
                f"{base_repo} is a folder without a package repository; remove it, or run createrepo_c there"
            )
        return {"made": False, "tool_seconds": 0.0}
    sets = Path(params["cache"]) / "base-os"
    with locked(sets / "lock"):
        target = sets / _key(params)
        made = not target.is_dir()
        if made:
            _build(params, target)
        base_repo.parent.mkdir(parents=True, exist_ok=True)
        if not base_repo.is_symlink() or base_repo.readlink() != target:
            switch_link(base_repo, str(target))
    return {"made": made, "tool_seconds": Clock.spent()}


def _key(params: dict[str, Any]) -> str:
    recipe = {name: params[name] for name in ("kernel", "packages", "files")}
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def _build(params: dict[str, Any], target: Path) -> None:
    partial = target.with_name(f".{target.name}.new")
    # In /tmp, not in the workspace: apt gives the download to its own user, who has to be able to get there.
    mine = f"base-os-{hashlib.sha256(str(target).encode()).hexdigest()[:_DIGITS]}-"
    # What a killed try left. The lock is ours, so nobody works there.
    for left in (partial, *Path(tempfile.gettempdir()).glob(f"{mine}*")):
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=mine))
    try:
        debs = _download([params["kernel"], *params["packages"]], scratch)
        for name, text in params["files"].items():
            (scratch / name).write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
        made = _rpmbuild(debs, scratch, Path(params["workspace"]) / "base-os.log")
        shutil.copytree(made, partial)
        output(["createrepo_c", "--quiet", partial])
        partial.rename(target)
    finally:
        for left in (partial, scratch):
            shutil.rmtree(left, ignore_errors=True)


def _download(names: list[str], scratch: Path) -> dict[str, tuple[str, str]]:
    """Fetch and unpack the packages to scratch/debs; return version and release by name.

    The first name is the kernel's.
    """
    kernel = _real_kernel(names[0])
    folder = scratch / "download"
    folder.mkdir()
    scratch.chmod(0o755)
    folder.chmod(0o777)
    ran = run(["apt-get", "--quiet", "download", kernel, *names[1:]], cwd=folder)
    if ran.returncode != 0:
        raise InfrastructureError(f"apt-get cannot download the base OS; run apt-get update: {last_line(ran.stderr)}")
    (scratch / "debs").mkdir()
    versions: dict[str, tuple[str, str]] = {}
    for deb in sorted(folder.glob("*.deb")):
        name, version = output(["dpkg-deb", "--show", "--showformat=${Package} ${Version}", deb]).split()
        name = "kernel" if name == kernel else name
        output(["dpkg-deb", "--extract", deb, scratch / "debs" / name])
        upstream, _, release = version.split(":", 1)[-1].rpartition("-")
        versions[name] = (upstream or release, release if upstream else "1")
    return versions


def _real_kernel(name: str) -> str:
    depends = output(["apt-cache", "depends", "--important", name])
    found = [line.split()[-1] for line in depends.splitlines() if line.strip().startswith("Depends: linux-image-")]
    return found[0] if found else name


def _rpmbuild(debs: dict[str, tuple[str, str]], scratch: Path, log: Path) -> Path:
    kernels = list((scratch / "debs" / "kernel" / "boot").glob("vmlinuz-*"))
    if len(kernels) != 1:
        raise InfrastructureError(
            "the kernel package has no vmlinuz; set base_os_kernel to a Debian linux-image package"
        )
    macros = {
        "_topdir": str(scratch / "rpm"),
        "_dbpath": str(scratch / "rpmdb"),
        "debs": str(scratch / "debs"),
        "recipe": str(scratch),
        "kver": kernels[0].name.removeprefix("vmlinuz-"),
    }
    for name, (version, release) in debs.items():
        macros |= {f"v_{name.replace('-', '_')}": version, f"r_{name.replace('-', '_')}": release}
    defines = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
    ran = run(["rpmbuild", "-bb", *defines, scratch / "base.spec"])
    log.write_text(ran.stdout + ran.stderr, encoding="utf-8")
    if ran.returncode != 0:
        artifacts = [{"path": str(log), "kind": "log"}]
        raise InfrastructureError(
            f"the base OS packages cannot be built: {last_line(ran.stderr)}", {"artifacts": artifacts}
        )
    return scratch / "rpm" / "RPMS" / "x86_64"


if __name__ == "__main__":
    run_module(ARGUMENTS, make)
