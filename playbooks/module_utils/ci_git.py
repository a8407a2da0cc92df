"""A dist-git repository, fetched with a git that obeys nothing but this module: no hooks, no prompts, no submodules."""

from __future__ import annotations

import datetime as dt
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_sandbox import require
from ansible.module_utils.ci_stage import InfrastructureError, PackageError, StageError, clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

# What git-receive calls rawhide is any of these in dist-git, over the years.
_RAWHIDE: Final = ("rawhide", "main", "master")
_PROTOCOLS: Final = "file:https:http:ssh:git"
_REV: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_BRANCH: Final = re.compile(r"(?!.*(?:\.\.|//|/\.|\.lock$))[A-Za-z0-9][A-Za-z0-9._/-]*")
_MISSING: Final = re.compile(
    r"does not exist|not found|does not appear to be a git repository|error: 404", re.IGNORECASE
)
_NETWORK: Final = re.compile(
    r"could not resolve|connection|timed out|unable to connect|permission denied", re.IGNORECASE
)
_PASSED_ON: Final = ("PATH", "HOME", "SSH_AUTH_SOCK", "http_proxy", "https_proxy", "no_proxy")
# Of a file larger than this git keeps no copy in memory, let alone several.
_CONFIG: Final = """[core]
\thooksPath = /dev/null
\tfsmonitor = false
\tbigFileThreshold = 32m
[safe]
\tdirectory = *
[submodule]
\trecurse = false
[fetch]
\tfsckObjects = false
[gc]
\tauto = 0
[advice]
\tdetachedHead = false
"""


# A dist-git commit has a spec, patches and tests. A few kilobytes of git objects can unfold into anything.
_FILES_LIMIT: Final = 50_000
_PATH_LIMIT: Final = 1000
_NAME_LIMIT: Final = 255
# The C library's words for a pack over the size a file may have.
_TOO_LARGE: Final = "File too large"
_CHUNK: Final = 1 << 16


@dataclass(frozen=True)
class Commit:
    """What the stages need of the commit: `commits` counts it and all before it; times are ISO 8601.

    `time` is when it was made, `author_time` when the change was: a rebase makes a commit anew, not its change.
    """

    commits: int
    subject: str
    time: str
    author_time: str


@dataclass
class Clone:
    """A bare clone below `folder`; `name` (namespace/repo) is what error messages call it.

    `seconds` is what one git command may take, `size_limit` how many bytes a pack, or the files of a commit, may have.
    """

    folder: Path
    url: str
    name: str
    seconds: float
    size_limit: int

    @property
    def path(self) -> Path:
        """The bare repository."""
        return self.folder / "dist-git.git"

    def fetch(self) -> None:
        """Clone.

        Raises PackageError when there is no such repository or it is too large, InfrastructureError for anything else.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "gitconfig").write_text(_CONFIG, encoding="ascii")
        run = self._run("clone", "--quiet", "--bare", "--no-local", "--", self.url, str(self.path))
        if run.returncode != 0:
            raise self._clone_error(run.stderr)

    def check(self, rev: str, branch: str) -> None:
        """Check that `rev` is a commit of `branch`. Raises PackageError with what is wrong."""
        if not _REV.fullmatch(rev):
            raise PackageError(f"{clean(rev, 80)!r} is not a full commit id")
        if not _BRANCH.fullmatch(branch):
            raise PackageError(f"{clean(branch, 80)!r} is not a branch name")
        if self._git("cat-file", "-t", rev).stdout.strip() != "commit":
            raise PackageError(f"{self.name} has no commit {rev}; was it pushed?")
        heads = [head for head in self._heads(branch) if self._ok("rev-parse", "--verify", "--quiet", head)]
        if not heads:
            raise PackageError(f"{self.name} has no branch {branch}")
        if not any(self._ok("merge-base", "--is-ancestor", rev, head) for head in heads):
            raise PackageError(f"commit {rev} of {self.name} is not on branch {branch}")

    def checkout(self, rev: str, tree: Path) -> None:
        """Write the commit's files into `tree`, without any trace of git. Symlinks stay what they are.

        Raises PackageError when git does not take their names, or there are more of them than a package has.
        """
        self._measure(rev)
        tree.mkdir()
        run = self._git(f"--work-tree={tree}", "checkout", "--quiet", "--force", "--detach", rev)
        if run.returncode != 0:
            kind = PackageError if "invalid path" in run.stderr else InfrastructureError
            raise kind(f"commit {rev} of {self.name} cannot be checked out: {clean(run.stderr, 200)}")

    def _measure(self, rev: str) -> None:
        """Raise PackageError when the files of a commit are too many or too large, before any is written."""
        files = size = 0
        for length, path in self._listed(rev):
            files, size = files + 1, size + length
            if files > _FILES_LIMIT:
                raise PackageError(f"commit {rev} of {self.name} has more than {_FILES_LIMIT} files")
            if size > self.size_limit:
                room = self.size_limit >> 20
                raise PackageError(f"the files of commit {rev} of {self.name} have over {room} MiB (limits.disk_mb)")
            if len(path) > _PATH_LIMIT or max(map(len, path.split(b"/"))) > _NAME_LIMIT:
                raise PackageError(f"commit {rev} of {self.name} has a file with a name that is too long")

    def _listed(self, rev: str) -> Iterator[tuple[int, bytes]]:
        """Yield size in bytes and path of each file and folder of a commit, as git comes upon them."""
        command = [*self._program(), f"--git-dir={self.path}", "ls-tree", "-r", "-t", "-l", "-z", "--full-tree", rev]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment(),
        ) as git:
            try:
                yield from map(_entry, _records(git.stdout))
            except GeneratorExit:
                git.kill()
                raise
        if git.returncode == -signal.SIGKILL:
            raise _killed(git.returncode)
        if git.returncode != 0:
            raise PackageError(f"git cannot list the files of commit {rev} of {self.name}; is its tree broken?")

    def describe(self, rev: str) -> Commit:
        """Return count, subject and times of the commit. Raises PackageError when one of them is none."""
        count = self._git("rev-list", "--count", rev).stdout.strip()
        told = self._git("log", "-1", "--no-show-signature", "--format=%cI%n%aI%n%s", rev).stdout
        time, author_time, subject = f"{told}\n\n".split("\n", maxsplit=2)
        for moment in (time, author_time):
            try:
                dt.datetime.fromisoformat(moment)
            except ValueError as error:
                raise PackageError(
                    f"commit {rev} of {self.name} was made at no time there is ({clean(moment, 40)}); amend it"
                ) from error
        return Commit(int(count), clean(subject, 200), time, author_time)

    def _heads(self, branch: str) -> list[str]:
        names = _RAWHIDE if branch in _RAWHIDE else (branch,)
        return [f"refs/heads/{name}" for name in names]

    def _ok(self, *arguments: str) -> bool:
        return self._git(*arguments).returncode == 0

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(f"--git-dir={self.path}", *arguments)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self._program(), *arguments]
        try:
            ran = subprocess.run(
                command,
                capture_output=True,
                check=False,
                encoding="utf-8",
                errors="replace",
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                timeout=self.seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise InfrastructureError(
                f"git took more than {self.seconds:.0f} seconds for {self.name}; is dist-git away?"
            ) from error
        if ran.returncode < 0:
            raise _killed(ran.returncode)
        return ran

    def _program(self) -> list[str]:
        # The signal would end git before it says why.
        limited = [require("prlimit"), f"--fsize={self.size_limit}", "--", require("env"), "--ignore-signal=XFSZ"]
        return [*limited, require("git")]

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return kept | {
            "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
            "GIT_CONFIG_GLOBAL": str(self.folder / "gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }

    def _clone_error(self, stderr: str) -> StageError:
        said = clean(stderr, 300)
        if _TOO_LARGE in stderr:
            return PackageError(f"the repository {self.name} has over {self.size_limit >> 20} MiB (limits.disk_mb)")
        if _MISSING.search(stderr) and not _NETWORK.search(stderr):
            return PackageError(f"there is no repository {self.name} in dist-git ({said})")
        return InfrastructureError(f"{self.name} cannot be cloned from dist-git: {said}")


def _records(stream: IO[bytes] | None) -> Iterator[bytes]:
    """Yield what stands before each zero byte; of what is much longer than a path may be, only the start."""
    rest = b""
    while stream and (chunk := stream.read(_CHUNK)):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
        if len(rest) > _CHUNK:
            yield rest


def _entry(record: bytes) -> tuple[int, bytes]:
    """Read a line of `git ls-tree -l`: mode, type, object and size, a tab, the path. What is no file has no size."""
    facts, _, path = record.partition(b"\t")
    size = facts.split()[-1]
    return int(size) if size.isdigit() else 0, path


def _killed(code: int) -> InfrastructureError:
    return InfrastructureError(f"signal {-code} ended git; is the builder out of memory?")
