#!/usr/bin/python
"""Install the host's packages into a new tree, and make it the shape OSTree wants.

dnf resolves over the base OS, the branch's last good packages and this run's candidate, in a sandbox: scriptlets are
package code. A candidate that is part of the host has to be what gets installed: with `replace` it takes the place of
its packages also when it is the older build, without it a newer one beside it is an error.

Where it makes no difference, packages of the base OS come from a tree that is kept (`ci_base_tree`), and `tree` holds
only what lies over it. Returns `tree` (path), `base_tree` (path, or `""`: `tree` is whole), `base_key` (what that was
made of) and `installed` (NEVRA rows).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_base_tree import BaseTrees
from ansible.module_utils.ci_candidate import candidates, check_install, failure, names_of
from ansible.module_utils.ci_candidate import require as require_candidates
from ansible.module_utils.ci_dnf import CANDIDATE, Dnf, is_good
from ansible.module_utils.ci_rootbox import overlay_of
from ansible.module_utils.ci_stage import InfrastructureError, PackageError, Part, run_module
from ansible.module_utils.ci_tools import Clock
from ansible.module_utils.ci_tree import finish

if TYPE_CHECKING:
    from ansible.module_utils.ci_nevra import Nevra

ARGUMENTS: Final[dict[str, Any]] = {
    "base_repo": {"type": "path", "required": True},
    "package_set": {"type": "path", "required": True},
    "package_repo": {"type": "path", "required": True},
    "install": {"type": "list", "elements": "str", "required": True},
    "replace": {"type": "bool", "required": True},
    "cache": {"type": "path", "required": True},
    "workspace": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
}
# The package that makes a tree a host.
BASE: Final = "host-base"
_REPOS: Final = {"base": "base_repo", "set": "package_set", CANDIDATE: "package_repo"}


class Installation:
    """One installation into <workspace>/tree."""

    def __init__(self, params: dict[str, Any]) -> None:
        """Take the module's parameters, prepare dnf's configuration."""
        self.params = params
        self.limits: dict[str, Any] = params["limits"]
        self.workspace = Path(params["workspace"])
        self.install: list[str] = params["install"]
        self.candidates: list[Nevra] = []
        self.tree = self.workspace / "tree"
        self.repos = {name: Path(params[key]) for name, key in _REPOS.items() if Path(params[key]).is_dir()}
        self.log = self.workspace / "dnf.log"

    def run(self) -> Part:
        """Install, check and shape; see the module's docstring."""
        check_install(self.install)
        self.candidates = candidates(Path(self.params["package_repo"]), self.workspace, self.limits)
        # What only the candidate may provide.
        hidden = names_of(self.candidates) if self.params["replace"] else []
        dnf = Dnf(self.workspace, self.limits, self.repos, hidden)
        self.tree.mkdir()
        over = BaseTrees(Path(self.params["cache"]) / "trees", dnf).install(self.install, self.log, self.tree)
        if over:
            base, installed = over
            self._check(installed)
        else:
            installed = self._from_nothing(dnf)
        rows = [[one.name, one.epoch, one.version, one.release, one.arch] for one in installed]
        return {
            "tree": str(self.tree),
            "base_tree": str(base.path) if over else "",
            "base_key": base.key if over else "",
            "installed": rows,
            "artifacts": self._artifacts(),
            "tool_seconds": Clock.spent(),
        }

    def _from_nothing(self, dnf: Dnf) -> list[Nevra]:
        """Install everything into the tree, whatever was left there, check and shape it."""
        shutil.rmtree(self.tree)
        self.tree.mkdir()
        ran = dnf.install(self.install, self.log, self.tree)
        if ran.timed_out:
            raise InfrastructureError("dnf did not end in the time of the stage", {"artifacts": self._artifacts()})
        if not is_good(ran):
            raise failure(ran.stdout, {"artifacts": self._artifacts()})
        installed = dnf.installed(self.tree)
        self._check(installed)
        finish(self.tree, has_base=any(one.name == BASE for one in installed))
        return installed

    def _check(self, installed: list[Nevra]) -> None:
        """Raise PackageError when a package is missing, or another build than the candidate's of the same name."""
        there = {one.name: one for one in installed}
        # dnf takes what obsoletes a package for the package.
        if BASE in self.install and BASE not in there:
            raise PackageError(
                f"a package takes the place of {BASE}, which makes the tree a host", {"artifacts": self._artifacts()}
            )
        require_candidates(self.candidates, installed, {"artifacts": self._artifacts()})

    def _artifacts(self) -> list[dict[str, str]]:
        return [{"path": str(self.log), "kind": "log"}]


def compose(params: dict[str, Any]) -> Part:
    """Install the packages; the tree of a failed installation is removed."""
    installation = Installation(params)
    try:
        return installation.run()
    except BaseException:
        shutil.rmtree(installation.tree, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(overlay_of(installation.tree), ignore_errors=True)


if __name__ == "__main__":
    run_module(ARGUMENTS, compose)
