"""dnf in the sandbox: what it would install of repositories, installing it into a tree, and what is installed there."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_nevra import QUERY, Nevra, parse_query
from ansible.module_utils.ci_rootbox import OverlaySandbox, RootSandbox
from ansible.module_utils.ci_sandbox import require
from ansible.module_utils.ci_stage import InfrastructureError, clean
from ansible.module_utils.ci_tools import Clock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ansible.module_utils.ci_sandbox import Finished

HOME: Final = "/builddir"
TREE: Final = "/tree"
DBPATH: Final = "/usr/share/rpm"
CANDIDATE: Final = "candidate"
MAIN: Final = f"""[main]
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
# Prints the versions of dnf and rpm, and then of each package its repository, its file and its name.
_RESOLVE: Final = """\
import dnf, dnf.conf, rpm, sys, tempfile
conf = dnf.conf.Conf()
conf.read(sys.argv[1])
conf.installroot = conf.persistdir = conf.logdir = tempfile.mkdtemp()
conf.substitutions["releasever"] = "0"
base = dnf.Base(conf)
base.read_all_repos()
base.fill_sack(load_system_repo=False)
for name in sys.argv[2:]:
    base.install(name)
base.resolve()
print(dnf.VERSION, rpm.__version__)
for one in base.transaction.install_set:
    print(one.reponame, one.location, one.name, one.epoch, one.version, one.release, one.arch, sep="\\t")
"""
_VERSIONS: Final = re.compile(r"[0-9][0-9.]* [0-9][^\s]*")
_COLUMNS: Final = 3


@dataclass(frozen=True, order=True)
class Chosen:
    """A package that dnf would install: the repository it is of, its file there, its name."""

    repo: str
    file: str
    nevra: Nevra


@dataclass(frozen=True)
class Dnf:
    """dnf over some repositories.

    Attributes:
        workspace: of the stage.
        limits: of the stage.
        repos: folders of packages, by name.
        hidden: names of packages that only the candidate may provide.
    """

    workspace: Path
    limits: Mapping[str, Any]
    repos: Mapping[str, Path]
    hidden: Sequence[str]

    def install(self, wanted: Sequence[str], log: Path, tree: Path, lower: Path | None = None) -> Finished:
        """Install packages and what they need into a tree, which may lie over another one."""
        require("dnf")
        command = ["dnf", f"--config={HOME}/dnf.conf", "--releasever=0", "install", "--", *wanted]
        with Clock.running():
            return self._sandbox(tree, lower, self._configured()).run(command, log)

    def choose(self, wanted: Sequence[str]) -> tuple[str, list[Chosen]]:
        """Return versions of the tools, and what they would install into an empty tree; nothing, if they cannot."""
        sandbox = RootSandbox(self.workspace, self.limits, readable=self._configured(), folder=HOME)
        with Clock.running():
            ran = sandbox.run(["/usr/bin/python3", "-I", "-c", _RESOLVE, f"{HOME}/dnf.conf", *wanted])
        versions, *lines = ran.stdout.splitlines() or [""]
        rows = [line.split("\t", 2) for line in lines]
        if ran.returncode != 0 or not _VERSIONS.fullmatch(versions) or any(len(row) != _COLUMNS for row in rows):
            return "", []
        return versions, sorted(Chosen(repo, file, *parse_query(nevra)) for repo, file, nevra in rows)

    def installed(self, tree: Path, lower: Path | None = None) -> list[Nevra]:
        """Return what is installed in a tree, and leave its database as one file.

        Raises InfrastructureError when it cannot be read.
        """
        sandbox = self._sandbox(tree, lower, {})
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

    def only(self, *names: str) -> Dnf:
        """Return dnf that sees no other repositories than these, as far as there are any."""
        return replace(self, repos={name: path for name, path in self.repos.items() if name in names})

    def can_lie_over(self, tree: Path, lower: Path) -> bool:
        """Tell whether a tree can lie over another one on this builder."""
        return OverlaySandbox(self.workspace, self.limits, lower=lower, upper=tree).works()

    def _sandbox(self, tree: Path, lower: Path | None, readable: Mapping[str, Path]) -> RootSandbox:
        given: dict[str, Any] = {"writable": {TREE: tree}, "readable": readable, "folder": HOME}
        if lower is None:
            return RootSandbox(self.workspace, self.limits, **given)
        return OverlaySandbox(self.workspace, self.limits, lower=lower, upper=tree, **given)

    def _configured(self) -> dict[str, Path]:
        """Write the configuration; return what a sandbox has to read."""
        conf, macros = self.workspace / "dnf.conf", self.workspace / "rpmmacros"
        sections = (_section(name, [] if name == CANDIDATE else self.hidden) for name in self.repos)
        conf.write_text(MAIN + "".join(sections), encoding="ascii")
        macros.write_text(f"%_dbpath {DBPATH}\n", encoding="ascii")
        readable = {f"{HOME}/dnf.conf": conf, f"{HOME}/.rpmmacros": macros}
        return readable | {f"/repos/{name}": path for name, path in self.repos.items()}


def is_good(ran: Finished) -> bool:
    """Tell whether an installation went well; a scriptlet that failed is no error to dnf."""
    return not ran.timed_out and ran.returncode == 0 and "scriptlet failed" not in ran.stdout


def _section(name: str, hidden: Sequence[str]) -> str:
    exclude = f"excludepkgs={','.join(hidden)}\n" if hidden else ""
    return f"[{name}]\nname={name}\nbaseurl=file:///repos/{name}\n{exclude}"
