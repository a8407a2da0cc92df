"""Commits, in a real OSTree repository."""

import fcntl
import itertools
import os
import struct
from pathlib import Path

import pytest

from ci_pipeline import store
from ci_pipeline.retention.commits import _no_promotion
from ci_pipeline.retention.folder import Folder
from ci_pipeline.stages import COMPOSE_OSTREE
from ci_pipeline.store.tables import Run, StageResult
from tests.makers import new_run
from tests.playbooks.host.branches import REF, ostree
from tests.retention.conftest import Place, add_image, age, ended, going_on, old_run

pytestmark = pytest.mark.usefixtures("database")
SIZE = 50_000


@pytest.fixture
def repo(place: Place) -> Path:
    """An empty repository of the branch."""
    path = place.branch / "ostree"
    path.mkdir(parents=True)
    ostree(path, "init", "--mode=archive")
    (place.branch / "repo").mkdir()
    return path


def commit(repo: Path, ref: str = REF, *, parent: str = "") -> str:
    """Commit a tree of its own on a ref and return the commit."""
    tree = repo.with_name("tree")
    tree.mkdir(exist_ok=True)
    (tree / "file").write_bytes(os.urandom(SIZE))
    parents = [f"--parent={parent}"] if parent else []
    words = [f"--branch={ref}", f"--tree=dir={tree}", "--subject=x", *parents]
    rev = ostree(repo, "commit", *words, "--add-metadata-string=version=26.1")
    (tree / "file").unlink()
    tree.rmdir()
    return rev


def candidate(repo: Path, run: Run, *, parent: str = "") -> str:
    """Commit a run's candidate and record its compose."""
    rev = commit(repo, f"candidate/f26/{run.number}", parent=parent)
    with store.session() as session:
        session.add(
            StageResult(run_id=run.id, stage=COMPOSE_OSTREE.name, try_number=1, outputs={"compose_rev": rev}),
        )
    return rev


def commits(repo: Path) -> set[str]:
    """Return the commits that are there and whole."""
    found = {path.parent.name + path.stem for path in (repo / "objects").glob("??/*.commit")}
    ostree(repo, "fsck", "--quiet")
    return found


def refs(repo: Path) -> list[str]:
    """Return the names of the refs."""
    return ostree(repo, "refs").split()


def test_the_newest_of_the_branch_stay(place: Place, repo: Path) -> None:
    """With the deltas that lead to them; the rest is gone, and a second pass has nothing to do."""
    made = [commit(repo) for _ in range(6)]
    for old, new in itertools.pairwise(made):
        ostree(repo, "static-delta", "generate", f"--from={old}", f"--to={new}")
    ostree(repo, "summary", "--update")
    told = place.keeping(commits=2).prune(dry_run=True)
    before = commits(repo)
    done = place.keeping(commits=2).prune()

    assert before == set(made)
    assert done.warnings == ()
    assert [(one.kind, one.what) for one in done.removed] == [("commit", f"{repo}: 4 commits")]
    assert done.removed[0].bytes == pytest.approx(4 * SIZE, rel=0.1)
    assert told.removed == done.removed
    assert commits(repo) == set(made[-2:])
    assert refs(repo) == [REF]
    deltas = ostree(repo, "static-delta", "list").split()
    assert sorted(delta.partition("-")[2] for delta in deltas) == sorted(made[-2:])
    assert made[0] not in ostree(repo, "summary", "--view")
    assert place.keeping(commits=2).gone() == []


def test_what_somebody_needs_stays_longer(place: Place, repo: Path) -> None:
    """Commits of kept images, of runs that go on or ended lately, and other people's refs with their history."""
    of_image, of_young, of_nobody, head = (commit(repo) for _ in range(4))
    add_image(old_run(), "good.qcow2", booted_days_ago=40, compose_rev=of_image)
    young = ended(new_run(rev="1" * 40), days=1)
    with store.session() as session:
        session.add(
            StageResult(run_id=young.id, stage="compose_ostree", try_number=1, outputs={"compose_rev": of_young})
        )
    candidates = [
        candidate(repo, going_on(new_run(rev="2" * 40)), parent=head),
        candidate(repo, ended(new_run(rev="3" * 40), days=13), parent=head),
    ]
    foreign = [commit(repo, "people/someone") for _ in range(2)]
    place.keeping(commits=1).gone()

    assert of_nobody not in commits(repo)
    assert commits(repo) == {of_image, of_young, head, *candidates, *foreign}


def test_a_run_keeps_its_commit_when_its_ref_is_forgotten(place: Place, repo: Path) -> None:
    """A compose forgets the refs of old candidates; a run that ended lately may still be cleared."""
    commit(repo)
    run = ended(new_run(), days=1)
    rev = candidate(repo, run)
    ostree(repo, "refs", "--delete", f"candidate/f26/{run.number}")

    assert place.gone() == []
    assert rev in commits(repo)


def test_candidates_of_old_runs_go(place: Place, repo: Path) -> None:
    """Of runs nobody knows, only when the ref is old too; of other branches and other names, never."""
    head = commit(repo)
    old = old_run()
    gone = [candidate(repo, old, parent=head), commit(repo, "candidate/f26/77")]
    stay = [commit(repo, ref) for ref in ("candidate/f26/78", "candidate/f26/x", "candidate/f27/1")]
    for number in ("77", "x"):
        age(repo / "refs" / "heads" / "candidate" / "f26" / number, days=30)
    told = place.prune(dry_run=True)

    assert commits(repo) == {head, *gone, *stay}
    assert f"candidate/f26/{old.number}" in refs(repo)

    done = place.prune()

    assert told.removed == done.removed
    assert [one.what.rpartition(" ")[2] for one in done.removed] == ["candidate/f26/1", "candidate/f26/77", "commits"]
    assert commits(repo) == {head, *stay}
    assert sorted(refs(repo)) == sorted([REF, "candidate/f26/78", "candidate/f26/x", "candidate/f27/1"])


@pytest.mark.parametrize("keep", [1, 2, 100])
def test_the_branch_always_has_its_head(place: Place, repo: Path, keep: int) -> None:
    """Whatever the settings: it can be pulled whole."""
    made = [commit(repo) for _ in range(3)]
    place.keeping(commits=keep, run_days=0.001).gone()

    assert commits(repo) == set(made[-keep:])
    assert ostree(repo, "rev-parse", REF) == made[-1]


def test_a_pass_that_was_cut_short_is_tidied_up(place: Place, repo: Path) -> None:
    """The refs it held commits with go, and so does what only they held."""
    made = [commit(repo) for _ in range(3)]
    ostree(repo, "refs", f"--create=retention/{made[0]}", made[0])
    place.keeping(commits=2).gone()

    assert refs(repo) == [REF]
    assert commits(repo) == set(made[1:])


def test_a_commit_in_progress_keeps_prunes_out(place: Place, repo: Path) -> None:
    """By the lock of ostree: the prune gives up with a warning, nothing is lost, the next pass prunes."""
    made = [commit(repo) for _ in range(2)]
    ostree(repo, "config", "set", "core.lock-timeout-secs", "0")
    with (repo / ".lock").open("a+") as file:
        shared = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, shared)
        done = place.keeping(commits=1).prune()

        assert [warning.partition(" on ")[0] for warning in done.warnings] == ["ostree prune failed"]
        assert commits(repo) == set(made)
        assert refs(repo) == [REF]

    assert place.keeping(commits=1).gone() == ["commit ostree: 1 commits"]


def test_a_commit_waits_for_a_prune(place: Place, repo: Path) -> None:
    """Longer than ostree's half minute, which would fail a compose; a time somebody set stays."""
    for _ in range(2):
        commit(repo)
    place.keeping(commits=1).gone()

    assert ostree(repo, "config", "get", "core.lock-timeout-secs") == "600"

    ostree(repo, "config", "set", "core.lock-timeout-secs", "7")
    commit(repo)
    place.keeping(commits=1).gone()

    assert ostree(repo, "config", "get", "core.lock-timeout-secs") == "7"


def test_a_promotion_at_work_is_not_disturbed(place: Place, repo: Path) -> None:
    """The next pass will do; and a prune keeps promotions waiting."""
    made = [commit(repo) for _ in range(2)]
    lock = place.branch / "repo" / ".last-good.lock"
    with lock.open("a") as promotion:
        fcntl.flock(promotion, fcntl.LOCK_EX)

        assert place.keeping(commits=1).gone() == []

    with _no_promotion(Folder(place.branch, ("repo",))) as free, lock.open("a") as promotion:
        with pytest.raises(BlockingIOError):
            fcntl.flock(promotion, fcntl.LOCK_EX | fcntl.LOCK_NB)

        assert free

    assert commits(repo) == set(made)


def test_a_repository_behind_a_symlink_is_left_alone(place: Place, repo: Path, tmp_path: Path) -> None:
    """Of another place, or another project."""
    made = [commit(repo) for _ in range(2)]
    repo.rename(tmp_path / "elsewhere")
    repo.symlink_to(tmp_path / "elsewhere")
    done = place.keeping(commits=1).prune()

    assert ["symlink" in warning for warning in done.warnings] == [True]
    assert commits(tmp_path / "elsewhere") == set(made)
