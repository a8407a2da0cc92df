"""What the packager pushes: always a new release, one good, one whose own unit tests fail."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ci_pipeline.demo import packager
from ci_pipeline.demo.distgit import DistGit
from ci_pipeline.errors import StackError
from tests.demo.conftest import SOURCES, git


@pytest.fixture(autouse=True)
def quiet(place: DistGit) -> None:
    """Pushes of these tests are not published: they are about the commits."""
    (place.repository("greeter") / "hooks" / "post-receive").unlink()


def checkout(place: DistGit, folder: Path) -> Path:
    """Return the files of the branch's head."""
    git(place.folder, "clone", "--quiet", "--branch", "f26", str(place.repository("greeter")), str(folder))
    return folder


def unit_tests(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run the package's unit tests as its %check does."""
    (tree / "greeter").chmod(0o755)
    command = ["sh", tree / "test_greeter.sh", tree / "greeter", tree]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def release(tree: Path) -> int:
    """Return the release in the spec."""
    found = re.search(r"^Release:\s+(\d+)%\{\?dist\}$", (tree / "greeter.spec").read_text(), re.MULTILINE)

    assert found

    return int(found.group(1))


def test_a_package_without_the_line_to_break_is_an_error(place: DistGit, tmp_path: Path) -> None:
    """A demo that only seems to break its package would show nothing."""
    shutil.copytree(SOURCES, tmp_path / "packages")
    (tmp_path / "packages" / "greeter" / "greeter").write_text("#!/bin/sh\necho hello\n")

    with pytest.raises(StackError, match="cannot break"):
        packager.push_broken(place, tmp_path / "packages")


def test_the_broken_push_fails_its_own_unit_tests(place: DistGit, tmp_path: Path) -> None:
    """By a bug in the program: the tests are those of the project."""
    pushed = packager.push_broken(place, SOURCES)

    tree = checkout(place, tmp_path / "tree")
    ran = unit_tests(tree)
    assert git(tree, "rev-parse", "HEAD") == pushed.rev
    assert ran.returncode == 1
    assert "FAILED" in ran.stdout
    assert (tree / "test_greeter.sh").read_text() == (SOURCES / "greeter" / "test_greeter.sh").read_text()


def test_the_push_after_a_broken_one_is_good_again(place: DistGit, tmp_path: Path) -> None:
    """The next demo starts healthy, and no release goes back."""
    packager.push_broken(place, SOURCES)
    packager.push_good(place, SOURCES)

    tree = checkout(place, tmp_path / "tree")
    ran = unit_tests(tree)
    assert ran.returncode == 0, ran.stdout
    assert release(tree) == release(SOURCES / "greeter") + 2


def test_every_good_push_greets_in_one_more_language(place: DistGit, tmp_path: Path) -> None:
    """A real change each time, with its entry in the change log and the demo's packager as its author."""
    before = len((SOURCES / "greeter" / "greetings").read_text().splitlines())
    pushes = [packager.push_good(place, SOURCES) for _ in range(3)]

    tree = checkout(place, tmp_path / "tree")
    assert len((tree / "greetings").read_text().splitlines()) == before + 3
    assert len({push.rev for push in pushes}) == 3
    assert pushes[-1].subject in (tree / "greeter.spec").read_text()
    assert git(tree, "log", "-1", "--format=%an <%ae> %cn <%ce>") == " ".join(
        ["Demo Packager <packager@example.org>"] * 2
    )
    assert unit_tests(tree).returncode == 0


def test_when_every_language_is_there_it_still_is_a_new_release(
    place: DistGit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo can be run for ever."""
    monkeypatch.setattr(packager, "_GREETINGS", {"en": "Hello"})

    pushed = packager.push_good(place, SOURCES)

    assert pushed.subject == "Rebuild"
    assert release(checkout(place, tmp_path / "tree")) == release(SOURCES / "greeter") + 1


def test_the_command_to_repair_it_works(place: DistGit, tmp_path: Path) -> None:
    """What the demo tells its user to do takes the bug back."""
    packager.push_broken(place, SOURCES)
    command = packager.repair_command(place)

    who = {f"GIT_{role}_{key}": "User" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env={"PATH": "/usr/bin:/bin", **who}, check=True, capture_output=True
    )

    assert unit_tests(checkout(place, tmp_path / "tree")).returncode == 0
