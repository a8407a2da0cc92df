"""dist-git's history into the index of revisions: what was pushed before anybody listened.

Only commits are fetched, neither trees nor files, into a bare repository that is thrown away; how many, how long and
how large is bounded. What git prints is hostile until it is a Change.
"""

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ci_pipeline import dist_git, store
from ci_pipeline.change import Change
from ci_pipeline.errors import ChangeError
from ci_pipeline.settings import Settings
from ci_pipeline.store import ledger, revisions

_SECONDS: Final = 300
_REASON_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Past:
    """A commit of a branch.

    Attributes:
        change: what was pushed.
        committed_at: when, as the commit tells; None if that is no time.
    """

    change: Change
    committed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of one package on one branch, or of a package that could not be looked at.

    Attributes:
        package: `rpms/mesa`.
        branch: the branch; "" with a problem.
        found: number of commits that were looked at.
        new: number of them that were not known.
        problem: a sentence; "" if all went well.
    """

    package: str
    branch: str = ""
    found: int = 0
    new: int = 0
    problem: str = ""


def bring_in(
    settings: Settings, *, repo: str | None = None, branch: str | None = None, since: datetime | None, limit: int
) -> Iterator[Imported]:
    """Take the history of the watched packages into the index, one package after another. Again changes nothing.

    Only the line of first parents counts: what was the branch's head once, not what was merged into it.

    Args:
        settings: what is watched, and where dist-git is.
        repo: only this package.
        branch: only this branch.
        since: nothing that was committed before.
        limit: the newest so many of each package and branch.

    Raises:
        StackError: git is not installed.
    """
    wanted = {name for name in settings.branches if branch in {None, name}}
    for package in dist_git.heads_of_all(settings, repo=repo):
        if package.problem:
            yield Imported(package.package, problem=package.problem)
        heads = [head for head in package.heads if head.branch in wanted]
        if heads:
            yield from _import_package(settings, heads, since, limit)


def _import_package(settings: Settings, heads: list[Change], since: datetime | None, limit: int) -> Iterator[Imported]:
    package = f"{heads[0].namespace}/{heads[0].repo}"
    try:
        histories = _histories(settings, heads, limit)
    except subprocess.TimeoutExpired:
        yield Imported(package, problem=f"{package}: dist-git did not answer within {_SECONDS} s")
    except ChangeError as error:
        yield Imported(package, problem=f"{package}: {error}")
    else:
        for head, history in zip(heads, histories, strict=True):
            young = [one for one in history if since is None or (one.committed_at and one.committed_at >= since)]
            yield Imported(package, head.branch, found=len(young), new=_add(young))


def _add(history: list[Past]) -> int:
    with store.session() as session:
        # What is pushed meanwhile takes its place in the index too; two writers could wait for each other for ever.
        ledger.lock(session)
        return sum(revisions.add(session, one.change, one.committed_at) for one in history)


def _histories(settings: Settings, heads: list[Change], limit: int) -> list[list[Past]]:
    """Fetch the heads' histories, and read them.

    Raises:
        ChangeError: git failed, or said nonsense.
        subprocess.TimeoutExpired: it took too long.
    """
    with tempfile.TemporaryDirectory(prefix="ci-pipeline-history-") as folder:
        environment = dist_git.environment_of(Path(folder))
        repository = f"--git-dir={folder}/history.git"
        url = dist_git.url_of(settings, f"{heads[0].namespace}/{heads[0].repo}")
        _git(["init", "--quiet", "--bare", f"{folder}/history.git"], environment)
        fetch = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", f"--depth={limit}", "--filter=tree:0"]
        wanted = {f"+{head.rev}:refs/heads/{head.branch}" for head in heads}
        _git([repository, *fetch, url, *sorted(wanted)], environment)
        log = ["log", "--first-parent", f"--max-count={limit}", "--no-show-signature", "--format=%H %ct"]
        return [
            [_read(head, line) for line in _git([repository, *log, head.rev], environment).splitlines()]
            for head in heads
        ]


def _read(head: Change, line: str) -> Past:
    rev, _, seconds = line.partition(" ")
    change = Change.parse(namespace=head.namespace, repo=head.repo, rev=rev, branch=head.branch)
    try:
        return Past(change, datetime.fromtimestamp(int(seconds), UTC))
    except (ValueError, OverflowError, OSError):
        return Past(change, None)


def _git(arguments: list[str], environment: Mapping[str, str]) -> str:
    status, output, complaints = dist_git.git(arguments, environment, _SECONDS)
    if status:
        said = "".join(character if character.isprintable() else " " for character in complaints).strip()
        msg = f"its history cannot be fetched: {said[-_REASON_LENGTH:] or 'git said nothing'}"
        raise ChangeError(msg)
    return output
