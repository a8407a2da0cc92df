"""Taking up dist-git's history."""

import secrets
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ci_pipeline import dist_git, history, store
from ci_pipeline.history import Imported
from ci_pipeline.settings import Settings
from ci_pipeline.store import revisions
from tests.distgit import DistGit

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def distgit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DistGit:
    """A dist-git of the test's own."""
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-11-01T12:00:00+00:00")
    return DistGit(tmp_path)


@pytest.fixture
def watched(current: Settings, distgit: DistGit) -> Settings:
    """The settings, with that dist-git."""
    return current.model_copy(update={"dist_git": current.dist_git.model_copy(update={"url": distgit.url})})


def bring_in(watched: Settings, **options: object) -> list[Imported]:
    """Import."""
    return list(history.bring_in(watched, **{"since": None, "limit": 100, **options}))


def known(branch: str = "f26") -> list[str]:
    """Return the known revisions of a branch, the newest first."""
    with store.session() as session:
        return [row.rev for row in revisions.listed(session, branch=branch, repo=None, limit=100)]


def test_history_is_taken_up_once(watched: Settings, distgit: DistGit) -> None:
    """Every commit of every watched branch; again changes nothing."""
    revs = [distgit.commit("greeter", {"x": str(number)}) for number in range(3)]
    other = distgit.commit("hostinfo", {"x": "1"}, branch="rawhide")

    assert bring_in(watched) == [
        Imported("rpms/greeter", "f26", found=3, new=3),
        Imported("rpms/hostinfo", "rawhide", found=1, new=1),
    ]
    assert [one.new for one in bring_in(watched)] == [0, 0]
    assert sorted(known()) == sorted(revs)
    assert known("rawhide") == [other]
    with store.session() as session:
        times = {
            row.committed_at.replace(microsecond=0)
            for row in revisions.listed(session, branch=None, repo=None, limit=9)
        }

    assert times == {datetime(2026, 11, 1, 12, tzinfo=UTC)}


def test_only_what_was_asked_for_is_taken_up(
    watched: Settings, distgit: DistGit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By package, by branch, by time, and no more than so many."""
    distgit.commit("greeter", {"x": "old"})
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-11-02T12:00:00+00:00")
    newer = [distgit.commit("greeter", {"x": str(number)}) for number in range(2)]
    distgit.commit("greeter", {"x": "r"}, branch="rawhide")
    distgit.commit("hostinfo", {"x": "1"})

    assert bring_in(watched, repo="nothing") == []
    assert [one.package for one in bring_in(watched, repo="hostinfo")] == ["rpms/hostinfo"]
    assert [one.found for one in bring_in(watched, repo="greeter", branch="f26", limit=1)] == [1]
    assert newer[-1] in known()
    assert [
        one.found for one in bring_in(watched, repo="greeter", branch="f26", since=datetime(2026, 11, 2, tzinfo=UTC))
    ] == [2]


def test_no_file_of_a_package_is_fetched(watched: Settings, distgit: DistGit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the server can leave them out, as every large one can."""
    distgit.commit("greeter", {"large": "x" * 100_000})
    bare = distgit.folder / "rpms" / "greeter.git"
    subprocess.run(["git", "-C", bare, "config", "uploadpack.allowFilter", "true"], check=True)
    objects: list[str] = []
    run_git = dist_git.git

    def watch(arguments: list[str], environment: dict[str, str], timeout: float) -> tuple[int, str, str]:
        if "log" in arguments:
            command = ["git", arguments[0], "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"]
            objects.extend(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
        return run_git(arguments, environment, timeout)

    monkeypatch.setattr(dist_git, "git", watch)
    bring_in(watched)

    assert objects == ["commit"]


def test_a_package_that_cannot_be_looked_at_is_named_and_the_others_are_taken_up(
    watched: Settings, distgit: DistGit
) -> None:
    """A damaged repository."""
    distgit.commit("greeter", {"x": "1"})
    distgit.commit("hostinfo", {"x": "1"})
    for pack in (distgit.folder / "rpms" / "greeter.git" / "objects").glob("??/*"):
        pack.unlink()
    damaged, fine = bring_in(watched)

    assert damaged.problem.startswith("rpms/greeter: ")
    assert fine == Imported("rpms/hostinfo", "f26", found=1, new=1)


def test_a_history_without_bounds_is_given_up(
    watched: Settings, distgit: DistGit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server sends as much as it likes; what is kept of it is limited."""
    distgit.commit("greeter", {"README": "x"})
    clone = distgit.folder / "clones" / "greeter"
    distgit._git(clone, "commit", "--quiet", "--allow-empty", "-m", secrets.token_hex(40_000))
    distgit._git(clone, "push", "--quiet", "origin", "HEAD:f26")
    monkeypatch.setattr(dist_git, "_LARGEST_FILE", 10_000)
    (refused,) = bring_in(watched)

    assert refused.problem.startswith("rpms/greeter: its history cannot be fetched: ")
    assert known() == []


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What git says a history is."""
    lines: list[str] = []
    run_git = dist_git.git

    def answer(arguments: list[str], environment: dict[str, str], timeout: float) -> tuple[int, str, str]:
        return (0, "\n".join(lines), "") if "log" in arguments else run_git(arguments, environment, timeout)

    monkeypatch.setattr(dist_git, "git", answer)
    return lines


@pytest.mark.parametrize("line", ["HEAD 1", "x" * 40 + " 1", "../../etc 1", "", " "])
def test_a_history_that_is_none_is_refused(
    watched: Settings, distgit: DistGit, answering: list[str], line: str
) -> None:
    """Nothing of it is taken up."""
    distgit.commit("greeter", {"x": "1"})
    answering += ["0" * 40 + " 1", line, "1" * 40 + " 1"]
    (refused,) = bring_in(watched)

    assert "the change's rev is not valid" in refused.problem
    assert known() == []


@pytest.mark.parametrize("seconds", ["", "x", "-99999999999999", "9" * 30, "253402300800"])
def test_a_commit_whose_time_is_none_is_taken_up_as_of_now(
    watched: Settings, distgit: DistGit, answering: list[str], seconds: str
) -> None:
    """It is real, whatever its time says."""
    distgit.commit("greeter", {"x": "1"})
    answering.append(f"{'0' * 40} {seconds}")
    bring_in(watched)
    with store.session() as session:
        (row,) = revisions.listed(session, branch="f26", repo=None, limit=9)

    assert row.committed_at.year >= 2026
