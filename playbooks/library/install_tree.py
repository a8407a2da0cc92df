#!/usr/bin/python
"""Install the host's packages into a new tree, and make it the shape OSTree wants.

dnf resolves over the base OS, the branch's last good packages and this run's candidate, in a sandbox: scriptlets are
package code. A candidate that is part of the host has to be what gets installed: with `replace` it takes the place of
its packages also when it is the older build, without it a newer one beside it is an error. Returns `tree` (path) and
`installed` (NEVRA rows).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_candidate import candidates, check_install, failure, names_of
from ansible.module_utils.ci_candidate import require as require_candidates
from ansible.module_utils.ci_nevra import QUERY, Nevra, parse_query
from ansible.module_utils.ci_rootbox import RootSandbox
from ansible.module_utils.ci_sandbox import require
from ansible.module_utils.ci_stage import InfrastructureError, PackageError, Part, clean, run_module
from ansible.module_utils.ci_tools import Clock
from ansible.module_utils.ci_tree import finish

ARGUMENTS: Final[dict[str, Any]] = {
    "base_repo": {"type": "path", "required": True},
    "package_set": {"type": "path", "required": True},
    "package_repo": {"type": "path", "required": True},
    "install": {"type": "list", "elements": "str", "required": True},
    "replace": {"type": "bool", "required": True},
    "workspace": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
}
HOME: Final = "/builddir"
TREE: Final = "/tree"
# The package that makes a tree a host.
BASE: Final = "host-base"
DBPATH: Final = "/usr/share/rpm"
_MAIN: Final = f"""[main]
assumeyes=1
best=1
cachedir=/tmp/dnf
gpgcheck=0
install_weak_deps=0
installroot={TREE}
logdir=/var/log
module_platform_id=platform:atomic
plugins=0
reposdir=/nonexistent
"""
# WAL files beside the database would make it a different commit each time, and unreadable in a read-only /usr.
_NO_WAL: Final = (
    "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('PRAGMA journal_mode=DELETE').fetchone()[0])"
)


class Installation:
    """One installation into <workspace>/tree."""

    def __init__(self, params: dict[str, Any]) -> None:
        """Take the module's parameters, prepare dnf's configuration."""
        self.params = params
        self.limits: dict[str, Any] = params["limits"]
        self.workspace = Path(params["workspace"])
        self.install: list[str] = params["install"]
        self.replace: bool = params["replace"]
        self.candidates: list[Nevra] = []
        self.tree = self.workspace / "tree"
        self.repos = {name: Path(params[key]) for name, key in _REPOS.items() if Path(params[key]).is_dir()}
        self.log = self.workspace / "dnf.log"

    def run(self) -> Part:
        """Install, check and shape; see the module's docstring."""
        check_install(self.install)
        self.candidates = candidates(Path(self.params["package_repo"]), self.workspace, self.limits)
        self.tree.mkdir()
        self._dnf()
        installed = self._installed()
        self._check(installed)
        finish(self.tree, has_base=any(one.name == BASE for one in installed))
        rows = [[one.name, one.epoch, one.version, one.release, one.arch] for one in installed]
        return {
            "tree": str(self.tree),
            "installed": rows,
            "artifacts": self._artifacts(),
            "tool_seconds": Clock.spent(),
        }

    def _dnf(self) -> None:
        names = self.workspace / "dnf.conf", self.workspace / "rpmmacros"
        # What only the candidate may provide.
        hidden = names_of(self.candidates) if self.replace else []
        sections = (_section(name, [] if name == "candidate" else hidden) for name in self.repos)
        names[0].write_text(_MAIN + "".join(sections), encoding="ascii")
        names[1].write_text(f"%_dbpath {DBPATH}\n", encoding="ascii")
        readable = {f"{HOME}/dnf.conf": names[0], f"{HOME}/.rpmmacros": names[1]}
        readable |= {f"/repos/{name}": path for name, path in self.repos.items()}
        require("dnf")
        command = ["dnf", f"--config={HOME}/dnf.conf", "--releasever=0", "install", "--", *self.install]
        with Clock.running():
            ran = self._sandbox(readable).run(command, self.log)
        if ran.timed_out:
            raise InfrastructureError("dnf did not end in the time of the stage", {"artifacts": self._artifacts()})
        if ran.returncode != 0 or "scriptlet failed" in ran.stdout:
            raise failure(ran.stdout, {"artifacts": self._artifacts()})

    def _installed(self) -> list[Nevra]:
        sandbox = self._sandbox({})
        database = f"{TREE}{DBPATH}/rpmdb.sqlite"
        for command in (
            ["/usr/bin/python3", "-I", "-c", _NO_WAL, database],
            ["rpm", "--root", TREE, "--dbpath", DBPATH, "-qa", "--qf", QUERY],
        ):
            with Clock.running():
                ran = sandbox.run(command)
            if ran.returncode != 0:
                raise InfrastructureError(f"the tree's package database cannot be read: {clean(ran.stderr, 200)}")
        return parse_query(ran.stdout)

    def _check(self, installed: list[Nevra]) -> None:
        """Raise PackageError when a package is missing, or another build than the candidate's of the same name."""
        there = {one.name: one for one in installed}
        # dnf takes what obsoletes a package for the package.
        if BASE in self.install and BASE not in there:
            raise PackageError(
                f"a package takes the place of {BASE}, which makes the tree a host", {"artifacts": self._artifacts()}
            )
        require_candidates(self.candidates, installed, {"artifacts": self._artifacts()})

    def _sandbox(self, readable: dict[str, Path]) -> RootSandbox:
        return RootSandbox(self.workspace, self.limits, writable={TREE: self.tree}, readable=readable, folder=HOME)

    def _artifacts(self) -> list[dict[str, str]]:
        return [{"path": str(self.log), "kind": "log"}]


_REPOS: Final = {"base": "base_repo", "set": "package_set", "candidate": "package_repo"}


def _section(name: str, hidden: list[str]) -> str:
    exclude = f"excludepkgs={','.join(hidden)}\n" if hidden else ""
    return f"[{name}]\nname={name}\nbaseurl=file:///repos/{name}\n{exclude}"


def compose(params: dict[str, Any]) -> Part:
    """Install the packages; the tree of a failed installation is removed."""
    installation = Installation(params)
    try:
        return installation.run()
    except BaseException:
        shutil.rmtree(installation.tree, ignore_errors=True)
        raise


if __name__ == "__main__":
    run_module(ARGUMENTS, compose)
