"""From what a person calls a revision to its commit: real git, and repositories made for the test."""

import subprocess
from pathlib import Path

import pytest

from ci_pipeline import revisions, settings
from ci_pipeline.errors import ChangeError, DistGitUnreachable
from ci_pipeline.revisions import Named
from tests.distgit import DistGit

REPO = "greeter"


@pytest.fixture
def distgit(tmp_path: Path) -> DistGit:
    """A dist-git with three commits of one package on f26, and another on its rawhide, `main`."""
    made = DistGit(tmp_path)
    for number in range(3):
        made.commit(REPO, {"number": str(number)})
    made.commit(REPO, {"number": "main"}, branch="main")
    return made


@pytest.fixture
def configured(distgit: DistGit, monkeypatch: pytest.MonkeyPatch) -> settings.Settings:
    """Settings that point to it."""
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__URL", distgit.url)
    return settings.load()


def git(distgit: DistGit, *arguments: str) -> str:
    """Run git in the package's bare repository."""
    folder = distgit.folder / "rpms" / f"{REPO}.git"
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def resolved(configured: settings.Settings, rev: str, *, branch: str = "f26", repo: str = REPO) -> str:
    """Return the 40 digits."""
    return revisions.resolve(configured, Named("rpms", repo, branch, rev)).rev


@pytest.mark.parametrize(
    ("rev", "sentence"),
    [
        ("nothing", "rpms/greeter has no branch or tag nothing$"),
        ("HEAD", "has no branch or tag HEAD"),
        ("refs/tags/none", "has no branch or tag refs/tags/none"),
        ("abc12", "has no branch or tag abc12; of a commit give at least 7 digits"),
        ("0123456789", "no commit of rpms/greeter on f26 begins with 0123456789; was it pushed"),
    ],
)
def test_what_does_not_exist_is_said(configured: settings.Settings, rev: str, sentence: str) -> None:
    """In words of what was asked for."""
    with pytest.raises(ChangeError, match=sentence):
        resolved(configured, rev)


@pytest.mark.parametrize(
    "rev", ["--upload-pack=touch /tmp/x", "-f26", "f26..main", "a b", "f26\n", "x" * 201, "@{1}", "f26^", "refs//heads"]
)
def test_what_is_no_revision_never_reaches_git(configured: settings.Settings, rev: str) -> None:
    """Not even as a word of its command line."""
    with pytest.raises(ChangeError, match="is not a revision: give 7 to 40 hex digits, a branch or a tag"):
        resolved(configured, rev)


@pytest.mark.parametrize("repo", ["../greeter", "-x", "a/b"])
def test_a_name_that_is_no_packages_never_reaches_git(configured: settings.Settings, repo: str) -> None:
    """It would be a part of the address."""
    with pytest.raises(ChangeError, match="the change's repo is not valid"):
        resolved(configured, "f26", repo=repo)


def test_a_package_that_is_not_there_is_said(configured: settings.Settings) -> None:
    """With the address it was looked for at."""
    with pytest.raises(ChangeError, match=r"rpms/absent is not in dist-git \(file://.*/rpms/absent.git\)"):
        resolved(configured, "f26", repo="absent")


def test_a_branch_the_package_does_not_have_is_said(distgit: DistGit, configured: settings.Settings) -> None:
    """Before its commits are looked for."""
    head = git(distgit, "rev-parse", "f26")
    git(distgit, "branch", "-D", "main")

    with pytest.raises(ChangeError, match="rpms/greeter has no branch rawhide"):
        resolved(configured, head[:9], branch="rawhide")


def test_dist_git_that_is_away_is_another_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying again may help."""
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__URL", "http://127.0.0.1:9")

    with pytest.raises(DistGitUnreachable, match="rpms/greeter: "):
        resolved(settings.load(), "f26")


def test_dist_git_that_hangs_is_left(configured: settings.Settings) -> None:
    """After the time it was given."""
    with pytest.raises(DistGitUnreachable, match="did not answer within 0 s"):
        revisions.resolve(configured, Named("rpms", REPO, "f26", "f26"), timeout=0)


def test_all_digits_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without asking: the build finds out whether they exist."""
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__URL", "http://127.0.0.1:9")

    assert resolved(settings.load(), "a" * 40) == "a" * 40


@pytest.mark.parametrize("older", [0, 1, 2])
@pytest.mark.parametrize("digits", [7, 12, 39])
def test_an_abbreviation_is_looked_up_among_the_branchs_commits(
    distgit: DistGit, configured: settings.Settings, older: int, digits: int
) -> None:
    """The head, and one that no ref points to any more."""
    rev = git(distgit, "rev-parse", f"f26~{older}")

    assert resolved(configured, rev[:digits]) == rev


def test_a_commit_of_another_branch_is_not_found(distgit: DistGit, configured: settings.Settings) -> None:
    """It would be built with the wrong dist."""
    elsewhere = git(distgit, "rev-parse", "main")

    with pytest.raises(ChangeError, match=f"on f26 begins with {elsewhere[:7]}"):
        resolved(configured, elsewhere[:7])

    assert resolved(configured, elsewhere[:7], branch="rawhide") == elsewhere


def test_an_abbreviation_of_several_commits_is_ambiguous(
    configured: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are named. Two real commits that begin alike take hours to make."""
    alike = ["1234567" + "a" * 33, "1234567" + "b" * 33, "c" * 40]
    monkeypatch.setattr(revisions._Asking, "commits", lambda *_: alike)

    with pytest.raises(
        ChangeError, match="1234567 is the beginning of several commits of rpms/greeter: 1234567aaaaa, "
    ):
        resolved(configured, "1234567")


def test_branches_and_tags_are_their_commits(distgit: DistGit, configured: settings.Settings) -> None:
    """Also tags that are objects of their own, refs in full, and rawhide under whatever name it has."""
    head, older = git(distgit, "rev-parse", "f26"), git(distgit, "rev-parse", "f26~1")
    git(distgit, "tag", "light", older)
    git(distgit, "-c", "user.name=p", "-c", "user.email=p@example.org", "tag", "-a", "-m", "m", "heavy", older)

    assert resolved(configured, "f26") == resolved(configured, "refs/heads/f26") == head
    assert resolved(configured, "light") == resolved(configured, "heavy") == resolved(configured, "refs/tags/heavy")
    assert resolved(configured, "heavy") == older
    assert resolved(configured, "rawhide", branch="rawhide") == git(distgit, "rev-parse", "main")


def test_a_branch_and_a_tag_of_one_name_are_ambiguous(distgit: DistGit, configured: settings.Settings) -> None:
    """Unless they are the same commit; in full either can be said."""
    head, older = git(distgit, "rev-parse", "f26"), git(distgit, "rev-parse", "f26~1")
    git(distgit, "tag", "f26", older)

    with pytest.raises(ChangeError, match="f26 is a branch and a tag of rpms/greeter: say refs/heads/f26 or refs/tags"):
        resolved(configured, "f26")

    assert resolved(configured, "refs/heads/f26") == head
    assert resolved(configured, "refs/tags/f26") == older


def test_a_name_that_looks_like_digits_is_a_name_first(distgit: DistGit, configured: settings.Settings) -> None:
    """As git has it."""
    older = git(distgit, "rev-parse", "f26~2")
    git(distgit, "branch", "deadbeef", older)

    assert resolved(configured, "deadbeef") == older


def test_only_commits_are_fetched_and_nothing_stays(
    distgit: DistGit, configured: settings.Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A package's files may be large, and are not wanted."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    rev = git(distgit, "rev-parse", "f26~1")
    kinds: list[str] = []

    def look(self: revisions._Asking, ref: str, real: object = revisions._Asking.commits) -> list[str]:
        commits: list[str] = real(self, ref)
        bare = str(self.folder / "commits.git")
        listed = ["git", "--git-dir", bare, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"]
        kinds.extend(subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split())
        return commits

    monkeypatch.setattr(revisions._Asking, "commits", look)

    assert resolved(configured, rev[:8]) == rev
    assert set(kinds) == {"commit"}
    assert list(scratch.iterdir()) == []
