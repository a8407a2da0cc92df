"""The run's own package repository: copied, checked and indexed aside, then put in its place in one step."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.ci_rpm import Rpm, query
from ansible.module_utils.ci_sandbox import Sandbox, require
from ansible.module_utils.ci_stage import InfrastructureError, PackageError, Part, clean
from ansible.module_utils.ci_tools import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def publish(
    files: Sequence[Path], nvr: str, repo: Path, link: Path | None, sandbox: tuple[Path, Mapping[str, Any]]
) -> Part:
    """Make `repo` of the RPM files and move the symlink `link`, the address of the package, to it, if there is one.

    `nvr` is what the source package must be; `sandbox` is the workspace and the limits. Returns outputs and artifacts.
    Raises PackageError when the files are not one source package and at least one binary package.
    """
    scratch = repo.with_name(f".{repo.name}.new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    copies = [Path(shutil.copyfile(path, scratch / path.name)) for path in files]
    source, binaries = _sort(query(copies, *sandbox), nvr)
    index(scratch, *sandbox)
    _replace(scratch, repo)
    if link:
        _link(repo, link)
    artifacts = [{"path": str(repo / source.path.name), "kind": "srpm"}]
    artifacts += [{"path": str(repo / rpm.path.name), "kind": "rpm"} for rpm in binaries]
    return {"outputs": _outputs(source, binaries, repo), "artifacts": artifacts}


def _outputs(source: Rpm, binaries: Sequence[Rpm], repo: Path) -> dict[str, Any]:
    return {
        "srpm": source.path.name,
        "rpms": [rpm.path.name for rpm in binaries],
        "packages": sorted({rpm.name for rpm in binaries}),
        "package_repo": str(repo),
        "repodata": {path.name: sha256(path) for path in sorted((repo / "repodata").iterdir())},
    }


def _sort(rpms: list[Rpm], nvr: str) -> tuple[Rpm, list[Rpm]]:
    sources = [rpm for rpm in rpms if rpm.is_source]
    binaries = [rpm for rpm in rpms if not rpm.is_source]
    if len(sources) != 1 or f"{sources[0].name}-{sources[0].evr}" != nvr:
        raise PackageError(f"the build did not write exactly one source package {clean(nvr, 120)}")
    if not binaries:
        raise PackageError("the build wrote no binary package; give the spec a %files section")
    return sources[0], binaries


def index(folder: Path, workspace: Path, limits: Mapping[str, Any]) -> None:
    """Make the folder a package repository: write its metadata. Forged headers are read in the sandbox."""
    require("createrepo_c")
    metadata = workspace / "repodata"
    metadata.mkdir(exist_ok=True)
    # Apart from the packages, which may be hard links: they stay whose they are.
    sandbox = Sandbox(workspace, limits, readable={"/packages": folder}, writable={"/metadata": metadata})
    # The source package lies beside the others for people to fetch, and is nothing a host could install.
    options = ["--quiet", "--no-database", "--general-compress-type=gz", "--excludes=*.src.rpm"]
    ran = sandbox.run(["createrepo_c", *options, "--outputdir=/metadata", "/packages"])
    if ran.returncode != 0:
        raise InfrastructureError(f"createrepo_c failed: {clean(ran.stderr, 200)}")
    shutil.move(metadata / "repodata", folder / "repodata")


def _replace(scratch: Path, repo: Path) -> None:
    """Put the new folder in the place of one that an earlier try of the same run may have left."""
    for folder, _, files in os.walk(scratch):
        Path(folder).chmod(0o755)
        for name in files:
            (Path(folder) / name).chmod(0o644)
    old = repo.with_name(f".{repo.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if repo.exists():
        repo.rename(old)
    scratch.rename(repo)
    shutil.rmtree(old, ignore_errors=True)


def _link(repo: Path, link: Path) -> None:
    if link.exists() and not link.is_symlink():
        raise InfrastructureError(f"{link} exists and is not a symlink; move it away")
    link.parent.mkdir(parents=True, exist_ok=True)
    scratch = link.with_name(f".{link.name}.{repo.name}.new")
    scratch.unlink(missing_ok=True)
    # Relative, so that the artifacts folder can move or be served from elsewhere.
    scratch.symlink_to(os.path.relpath(repo, link.parent))
    scratch.replace(link)
