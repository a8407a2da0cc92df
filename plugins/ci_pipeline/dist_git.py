"""What dist-git has: the heads of the watched packages' branches. What it answers is hostile until it is a Change.

Git is run as the stages run it: nothing of the account's configuration, no prompts, and only protocols that carry data.
"""

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ci_pipeline.change import RAWHIDE, Change
from ci_pipeline.errors import ChangeError, StackError
from ci_pipeline.settings import Settings

_PROTOCOLS: Final = "file:https:http:ssh:git"
_PASSED_ON: Final = ("PATH", "HOME", "SSH_AUTH_SOCK", "http_proxy", "https_proxy", "no_proxy")
# A dist-git on this machine may belong to another account than ours; reading its refs runs nothing of it.
# Commits alone may be asked of it, too: it is our git that answers for such a repository.
_CONFIG: Final = "[safe]\n\tdirectory = *\n[uploadpack]\n\tallowFilter = true\n"
SECONDS: Final = 60
_AT_ONCE: Final = 8
_LARGEST_FILE: Final = 256 * 1024 * 1024
# What prlimit ends with when there is no such program.
_NOT_FOUND: Final = 127
_MISSING: Final = re.compile(r"does not appear to be a git repository|repository .* not found|error: 404")
# What a pipeline branch is called in dist-git, the name in use today first.
_GIT_NAMES: Final = {RAWHIDE: (RAWHIDE, "main", "master")}
_REASON_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Heads:
    """What was found of one package.

    Attributes:
        package: `rpms/mesa`.
        heads: the heads of its branches that have a pipeline.
        absent: whether it is not in dist-git.
        problem: a sentence, when it could not be looked at.
    """

    package: str
    heads: tuple[Change, ...] = ()
    absent: bool = False
    problem: str = ""


def heads_of_all(settings: Settings, *, repo: str | None = None, timeout: float = SECONDS) -> list[Heads]:
    """Ask for the heads of every watched package, several at a time.

    Args:
        settings: where dist-git is, and what is watched.
        repo: only this package; nothing, if it is not watched.
        timeout: seconds dist-git may take for one package.

    Raises:
        StackError: git is not installed.
    """
    watched = [name for name in settings.packages.monitored if repo in {None, name}]
    packages = [(space, name) for space in settings.packages.namespaces for name in watched]
    with tempfile.TemporaryDirectory(prefix="ci-pipeline-git-") as folder, ThreadPoolExecutor(_AT_ONCE) as pool:
        environment = environment_of(Path(folder))
        asked = [pool.submit(_heads_of, settings, *package, environment, timeout) for package in packages]
        return [answer.result() for answer in asked]


def _heads_of(settings: Settings, namespace: str, repo: str, environment: Mapping[str, str], timeout: float) -> Heads:
    package = f"{namespace}/{repo}"
    try:
        url = url_of(settings, package)
        status, output, complaints = git(["ls-remote", "--heads", url, *_wanted_refs(settings)], environment, timeout)
        if status:
            return _refused(package, complaints)
        return Heads(package, heads=tuple(_read(settings, namespace, repo, output)))
    except subprocess.TimeoutExpired:
        return Heads(package, problem=f"{package}: dist-git did not answer within {timeout:g} s")
    except ChangeError as error:
        return Heads(package, problem=f"{package}: dist-git answered nonsense: {error}")


def git(arguments: list[str], environment: Mapping[str, str], timeout: float) -> tuple[int, str, str]:
    """Run git in no repository, whose configuration it would read. Return its exit status and both outputs.

    No file it writes may grow without bound: what a server sends is as long as the server likes.

    Raises:
        StackError: git is not installed.
        subprocess.TimeoutExpired: it took longer than `timeout` seconds, and was ended with all it had started.
    """
    try:
        process = subprocess.Popen(  # noqa: S603
            ["prlimit", f"--fsize={_LARGEST_FILE}", "git", *arguments],  # noqa: S607 - the PATH is the operator's
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        msg = "prlimit (util-linux) is not installed; run `make setup`"
        raise StackError(msg) from error
    with process:
        try:
            output, complaints = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            # With what it has started: an ssh or a helper would wait on.
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode == _NOT_FOUND:
        msg = "git is not installed; run `make setup`"
        raise StackError(msg)
    return process.returncode, output, complaints


def _refused(package: str, stderr: str) -> Heads:
    if is_missing(stderr):
        return Heads(package, absent=True)
    return Heads(package, problem=f"{package}: {sentence_of(stderr)}")


def is_missing(complaints: str) -> bool:
    """Tell whether git complains that there is no such repository."""
    return _MISSING.search(complaints) is not None


def sentence_of(complaints: str) -> str:
    """Return what git complains of, in one printable line."""
    said = "".join(character if character.isprintable() else " " for character in complaints).strip()
    return said[:_REASON_LENGTH] or "git failed and said nothing"


def url_of(settings: Settings, package: str) -> str:
    """Return the clone URL of a package, `rpms/mesa`."""
    return f"{settings.dist_git.url}/{package}.git"


def _read(settings: Settings, namespace: str, repo: str, output: str) -> Iterator[Change]:
    """Read lines of `<rev> TAB <ref>`. Where a branch has several names, the first of them counts.

    Raises:
        ChangeError: a rev is none.
    """
    lines = (line.partition("\t") for line in output.splitlines())
    revs = {ref: rev for rev, _, ref in lines}
    for branch in settings.branches:
        found = next((ref for ref in refs_of(settings.dist_git_branch_of(branch)) if ref in revs), None)
        if found:
            yield Change.parse(namespace=namespace, repo=repo, rev=revs[found], branch=branch)


def _wanted_refs(settings: Settings) -> list[str]:
    names = {settings.dist_git_branch_of(branch): None for branch in settings.branches}
    return [ref for name in names for ref in refs_of(name)]


def refs_of(branch: str) -> list[str]:
    """Return the refs that a branch of dist-git may be, the one that counts first."""
    return [f"refs/heads/{name}" for name in _GIT_NAMES.get(branch, (branch,))]


def environment_of(folder: Path) -> Mapping[str, str]:
    """Return the environment git runs in; its configuration is written into `folder`."""
    config = folder / "gitconfig"
    config.write_text(_CONFIG, encoding="ascii")
    return {
        **{key: os.environ[key] for key in _PASSED_ON if key in os.environ},
        "GIT_CONFIG_GLOBAL": str(config),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
        # The reasons are read for whether the repository exists.
        "LC_ALL": "C",
    }
