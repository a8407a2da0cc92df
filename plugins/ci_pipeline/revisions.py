"""From what a person calls a revision to its commit: 40 digits, at least 7 of them, or the name of a branch or tag.

dist-git is asked for the name first. Digits that are no name are looked up among the commits of the pipeline's branch,
of which nothing else is fetched.
"""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

from pydantic import StringConstraints

from ci_pipeline import dist_git
from ci_pipeline.change import Change
from ci_pipeline.errors import ChangeError, DistGitUnreachable
from ci_pipeline.settings import Settings

PATTERN: Final = r"^[A-Za-z0-9_][A-Za-z0-9_./+@-]{0,199}$"
Revision = Annotated[str, StringConstraints(max_length=200)]

_FULL: Final = re.compile(r"[0-9a-f]{40}")
_ABBREVIATION: Final = re.compile(r"[0-9a-f]{7,39}")
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Named:
    """A revision as a person names it: `rev` of the package `rpms/mesa` on a branch of the pipeline."""

    namespace: str
    repo: str
    branch: str
    rev: str

    @property
    def package(self) -> str:
        """`rpms/mesa`."""
        return f"{self.namespace}/{self.repo}"


def resolve(settings: Settings, named: Named, *, timeout: float = dist_git.SECONDS) -> Change:
    """Return the change a person names. All 40 digits are taken as they are: the build finds out whether they exist.

    Args:
        settings: where dist-git is.
        named: the revision.
        timeout: seconds dist-git may take for one answer.

    Raises:
        ChangeError: there is no such package, branch or revision, or several revisions are meant.
        DistGitUnreachable: dist-git does not answer, or refuses.
        StackError: git is not installed.
    """
    rev = named.rev if _FULL.fullmatch(named.rev) else _look_up(settings, named, timeout)
    return Change.parse(namespace=named.namespace, repo=named.repo, rev=rev, branch=named.branch)


def _look_up(settings: Settings, named: Named, timeout: float) -> str:
    if not re.fullmatch(PATTERN, named.rev) or ".." in named.rev or "//" in named.rev:
        raise ChangeError(f"{named.rev[:80]!r} is not a revision: give 7 to 40 hex digits, a branch or a tag")
    # A name that is no package's must not reach dist-git.
    Change.parse(namespace=named.namespace, repo=named.repo, rev="0" * 40, branch=named.branch)
    named = replace(named, branch=settings.dist_git_branch_of(named.branch))
    url = dist_git.url_of(settings, named.package)
    with tempfile.TemporaryDirectory(prefix="ci-pipeline-git-") as folder:
        asking = _Asking(named.package, url, Path(folder), dist_git.environment_of(Path(folder)), timeout)
        refs = asking.refs([*dist_git.refs_of(named.branch), *_heads(named.rev), *_tags(named.rev)])
        return _of_name(named, refs) or _of_digits(named, refs, asking)


@dataclass(frozen=True, slots=True)
class _Asking:
    """One package of dist-git, asked from a temporary folder."""

    package: str
    url: str
    folder: Path
    environment: Mapping[str, str]
    timeout: float

    def refs(self, wanted: list[str]) -> dict[str, str]:
        """Return those of the wanted refs that exist, with their revisions."""
        output = self._git("ls-remote", "--", self.url, *wanted)
        found = {ref: rev for rev, _, ref in (line.partition("\t") for line in output.splitlines())}
        # ls-remote takes a ref for the end of others' names.
        return {ref: rev for ref, rev in found.items() if ref in wanted}

    def commits(self, ref: str) -> list[str]:
        """Return all commits of a branch, none of their files."""
        bare = str(self.folder / "commits.git")
        how = ("--bare", "--template=", "--no-tags", "--single-branch", "--filter=tree:0")
        branch = ref.removeprefix("refs/heads/")
        self._git("clone", "--quiet", *how, f"--branch={branch}", "--", self.url, bare)
        return self._git(f"--git-dir={bare}", "rev-list", "--end-of-options", "HEAD").split()

    def _git(self, *arguments: str) -> str:
        try:
            status, output, complaints = dist_git.git(list(arguments), self.environment, self.timeout)
        except subprocess.TimeoutExpired as error:
            raise DistGitUnreachable(f"{self.package}: dist-git did not answer within {self.timeout:g} s") from error
        if status and dist_git.is_missing(complaints):
            raise ChangeError(f"{self.package} is not in dist-git ({self.url})")
        if status:
            raise DistGitUnreachable(f"{self.package}: {dist_git.sentence_of(complaints)}")
        return output


def _heads(name: str) -> list[str]:
    return [name] if name.startswith("refs/") else dist_git.refs_of(name)


def _tags(name: str) -> list[str]:
    tag = name if name.startswith("refs/") else f"refs/tags/{name}"
    # An annotated tag is an object of its own; this is the commit it is of.
    return [f"{tag}^{{}}", tag]


def _of_name(named: Named, refs: Mapping[str, str]) -> str:
    """Return the revision of the branch or tag of this name, or "" if there is none."""
    head = next((refs[ref] for ref in _heads(named.rev) if ref in refs), "")
    tag = next((refs[ref] for ref in _tags(named.rev) if ref in refs), "")
    if head and tag and not named.rev.startswith("refs/") and head != tag:
        either = f"refs/heads/{named.rev} or refs/tags/{named.rev}"
        raise ChangeError(f"{named.rev} is a branch and a tag of {named.package}: say {either}")
    return tag or head


def _of_digits(named: Named, refs: Mapping[str, str], asking: _Asking) -> str:
    if not _ABBREVIATION.fullmatch(named.rev):
        few = "; of a commit give at least 7 digits" if re.fullmatch("[0-9a-f]+", named.rev) else ""
        raise ChangeError(f"{named.package} has no branch or tag {named.rev}{few}")
    branch = next((ref for ref in dist_git.refs_of(named.branch) if ref in refs), None)
    if branch is None:
        raise ChangeError(f"{named.package} has no branch {named.branch}")
    found = sorted(rev for rev in asking.commits(branch) if rev.startswith(named.rev))
    if not found:
        raise ChangeError(f"no commit of {named.package} on {named.branch} begins with {named.rev}; was it pushed?")
    if len(found) > 1:
        these = ", ".join(rev[:_SHOWN] for rev in found[:5])
        raise ChangeError(f"{named.rev} is the beginning of several commits of {named.package}: {these}")
    return found[0]
