#!/usr/bin/python
"""Compose the host with rpm-ostree: as a candidate, a child of the ref's head that the ref does not point at yet.

The treefile is made of the settings: the distribution's repositories, the branch's last good packages and this run's
candidate. rpm-ostree composes into a repository of the run's own, and moves no ref; what it made is then pulled into
the branch's, under a ref of the candidate. A candidate that is part of the host has to be what gets installed: with
`replace` nobody else may provide its packages, without it a newer build beside it is an error.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, Final

from ansible.module_utils import ci_candidate
from ansible.module_utils.ci_ostree import Repository, candidate_ref, valid_checksum, valid_ref
from ansible.module_utils.ci_program import run
from ansible.module_utils.ci_stage import InfrastructureError, Part, StageError, clean, run_module
from ansible.module_utils.ci_tools import Clock, locked, output

ARGUMENTS: Final[dict[str, Any]] = {
    "repos": {"type": "list", "elements": "dict", "required": True},
    "treefile": {"type": "str", "required": True},
    "package_set": {"type": "path", "required": True},
    "package_repo": {"type": "path", "required": True},
    "install": {"type": "list", "elements": "str", "required": True},
    "replace": {"type": "bool", "required": True},
    "ostree_repo": {"type": "path", "required": True},
    "ref": {"type": "str", "required": True},
    "branch": {"type": "str", "required": True},
    "build_id": {"type": "int", "required": True},
    "release": {"type": "str", "required": True},
    "cache": {"type": "path", "required": True},
    "workspace": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
}
CANDIDATE: Final = "candidate"
LAST_GOOD: Final = "last-good"
_WORD: Final = re.compile(r"[^\s\x00-\x1f]+")


class Compose:
    """One compose."""

    def __init__(self, params: dict[str, Any]) -> None:
        """Take the module's parameters."""
        self.params = params
        self.workspace, self.limits = Path(params["workspace"]), params["limits"]
        self.repository = Repository(Path(params["ostree_repo"]))
        self.treefile = self.workspace / "treefile" / "host.json"
        self.log = self.workspace / "compose.log"
        self.candidates = list(ci_candidate.candidates(Path(params["package_repo"]), self.workspace, self.limits))

    def run(self) -> Part:
        """Compose; see the module's docstring. Returns the outputs of compose_ostree."""
        self.repository.create()
        parent = self.repository.head(self.params["ref"])
        version = self.repository.version(parent) if parent else ""
        version = ci_candidate.next_version(version, self.params["release"])
        self.write_treefile()
        rev = self.compose(parent, version)
        packages = self.repository.packages(rev)
        ci_candidate.require(self.candidates, packages, {"artifacts": self.artifacts()})
        self.repository.set_ref(candidate_ref(self.params["branch"], self.params["build_id"]), rev)
        ci_candidate.forget_old(self.repository, self.params["branch"], self.params["build_id"])
        outputs = ci_candidate.outputs(self.repository, rev, version, parent, packages)
        return {"outputs": outputs, "artifacts": self.artifacts(), "tool_seconds": Clock.spent()}

    def write_treefile(self) -> None:
        """Write the treefile, and the definition of each repository beside it, where rpm-ostree looks for them."""
        folder = self.treefile.parent
        folder.mkdir()
        ours = {CANDIDATE: self.params["package_repo"], LAST_GOOD: self.params["package_set"]}
        names = ci_candidate.names_of(self.candidates)
        hidden = names if self.params["replace"] else []
        repos = [*self.params["repos"], *(_local(name, path) for name, path in ours.items() if Path(path).is_dir())]
        for repo in repos:
            text = _definition(repo, [] if repo["name"] == CANDIDATE else hidden)
            (folder / f"{repo['name']}.repo").write_text(text, encoding="utf-8")
        tree = {
            "ref": valid_ref(self.params["ref"]),
            "releasever": self.params["release"],
            "repos": [repo["name"] for repo in repos],
            "packages": self.params["install"],
        }
        if wanted := sorted(set(hidden).intersection(self.params["install"])):
            tree["repo-packages"] = [{"repo": CANDIDATE, "packages": wanted}]
        if self.params["treefile"]:
            tree["include"] = self.params["treefile"]
        self.treefile.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")

    def compose(self, parent: str, version: str) -> str:
        """Run rpm-ostree, bring its commit into the branch's repository, and return it."""
        work, commit = self.workspace / "compose-repo", self.workspace / "commitid"
        cache = Path(self.params["cache"]) / "rpm-ostree" / self.params["branch"]
        cache.mkdir(parents=True, exist_ok=True)
        output(["ostree", "init", f"--repo={work}", "--mode=archive"])
        command = [
            *("rpm-ostree", "compose", "tree", "--unified-core", f"--repo={work}", f"--cachedir={cache}"),
            f"--write-commitid-to={commit}",
            f"--add-metadata-string=version={version}",
            f"--parent={parent}" if parent else "--no-parent",
            str(self.treefile),
        ]
        try:
            with locked(cache.with_name(f".{cache.name}.lock")):
                ended = run(command, self.log, float(self.limits["seconds"]))
            if ended.timed_out:
                raise InfrastructureError("rpm-ostree did not end in the time of the stage")
            if ended.code != 0:
                raise ci_candidate.failure(ended.said, {})
            rev = valid_checksum(commit.read_text(encoding="ascii").strip())
            self.repository.ostree("pull-local", work, rev)
        except StageError as error:
            error.part |= {"artifacts": self.artifacts()}
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return rev

    def artifacts(self) -> list[dict[str, str]]:
        """Return the log and the treefile, as far as they are there."""
        found = [(self.log, "log"), (self.treefile, "report")]
        return [{"path": str(path), "kind": kind} for path, kind in found if path.is_file()]


def _local(name: str, path: str) -> dict[str, str]:
    return {"name": name, "url": f"file://{path}", "gpg_key": ""}


def _definition(repo: dict[str, str], hidden: list[str]) -> str:
    for key in ("name", "url", "gpg_key"):
        if (repo[key] or key != "gpg_key") and not _WORD.fullmatch(repo[key]):
            raise InfrastructureError(f"{clean(repo[key], 80)!r} is no {key} of a repository; correct compose.repos")
    lines = [f"[{repo['name']}]", f"name={repo['name']}", f"baseurl={repo['url']}", "enabled=1"]
    lines += ["gpgcheck=1", f"gpgkey={repo['gpg_key']}"] if repo["gpg_key"] else ["gpgcheck=0"]
    lines += [f"excludepkgs={','.join(hidden)}"] if hidden else []
    return "\n".join(lines) + "\n"


def compose(params: dict[str, Any]) -> Part:
    """Compose; see the module's docstring."""
    ci_candidate.check_install(params["install"])
    if not params["repos"]:
        raise InfrastructureError("no repository of the distribution is configured; add one below [compose.repos]")
    return Compose(params).run()


if __name__ == "__main__":
    run_module(ARGUMENTS, compose)
