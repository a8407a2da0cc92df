"""A full disk is never the package's fault: before a stage, while it runs, and when its report cannot be written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ci_pipeline.outcome import Fault, Status
from tests.playbooks.stage_runs import LIMITS
from tests.playbooks.sti import basic

if TYPE_CHECKING:
    from pathlib import Path

    from ci_pipeline.executors.report import Report
    from tests.playbooks.small_disk import SmallDisk
    from tests.playbooks.stage_runs import CarryOut, DistGit, RunStage

SPEC = """\
Name: hello
Version: 1.0
Release: 1
Summary: Says hello
License: MIT
BuildArch: noarch
%description
Says hello.
%build
{build}
%install
install -d %{{buildroot}}/usr/share/hello
%files
/usr/share/hello
"""
WRITE = "dd if=/dev/zero of=big bs=1M count=100 2>/dev/null"


class Build:
    """Builds a package in folders that can lie on a small disk."""

    def __init__(self, carry_out: CarryOut, dist_git: DistGit, base: Path) -> None:
        self.carry_out, self.dist_git, self.base = carry_out, dist_git, base

    def __call__(self, script: str = "true", **request: Any) -> Report:
        rev = self.dist_git.commit({"hello.spec": SPEC.format(build=script)})
        common = {
            "rev": rev,
            "dist_git_url": self.dist_git.url,
            "package_repo": str(self.base / "packages" / "run-1"),
            "package_link": str(self.base / "packages" / "hello_repo"),
        }
        workspace = request.pop("where", self.base / "try")
        return self.carry_out("build_package", workspace, **(common | request))


@pytest.fixture
def build(carry_out: CarryOut, dist_git: DistGit, tmp_path: Path) -> Build:
    """Return a function that builds a package whose %build is this script."""
    return Build(carry_out, dist_git, tmp_path)


def is_told(report: Report) -> bool:
    """Tell whether a report is an infrastructure fault that says what is full and what to do."""
    wanted = ("the disk is full: ", "make room there, for example with `ci-pipeline prune`, then clear the task")
    fault = (report.status, report.fault) == (Status.FAILURE, Fault.INFRASTRUCTURE)
    return fault and all(words in report.reason for words in wanted)


def test_a_stage_without_room_does_not_begin(build: Build, tmp_path: Path) -> None:
    """It says which folder, how much is free and how much is needed; nothing is fetched."""
    report = build(limits=LIMITS | {"free_mb": 1 << 40})

    assert is_told(report)
    assert f"full: {tmp_path / 'try'} has " in report.reason
    assert f" MB free, and a stage needs {1 << 40} (limits.free_mb); " in report.reason
    assert not (tmp_path / "try" / "source").exists()


@pytest.mark.parametrize("folder", ["artifacts", "cache"])
def test_every_disk_a_stage_works_on_is_looked_at(build: Build, small_disk: SmallDisk, folder: str) -> None:
    """Also where the folder does not exist yet. With room the same stage succeeds."""
    request = {folder: str(small_disk.path / "not" / "yet"), "limits": LIMITS | {"free_mb": 20}}
    report = build(**request)
    small_disk.grow(24)
    again = build(**request, where=build.base / "again")

    assert is_told(report)
    assert f"full: {small_disk.path} has 8 MB free, and a stage needs 20 (limits.free_mb)" in report.reason
    assert again.status is Status.SUCCESS, again.reason


@pytest.mark.parametrize(
    "script",
    [
        f"{WRITE}",
        f"{WRITE} || {{ echo error in line 3; exit 1; }}",
        # Long enough to be seen: the pipeline looks several times a second.
        f"{WRITE} || {{ sleep 1; rm big; echo error in line 3; exit 1; }}",
    ],
    ids=["silent", "with another reason", "tidied up"],
)
def test_a_build_on_a_disk_that_runs_full_is_not_the_packages_fault(
    build: Build, small_disk: SmallDisk, script: str
) -> None:
    """Whatever its tools say, and whether the report could be written or not. With room the next try goes on."""
    report = build(script, where=small_disk.path / "try-1")
    small_disk.grow(256)
    again = build(script, where=small_disk.path / "try-2")

    assert is_told(report), report
    assert str(small_disk.path) in report.reason
    assert again.status is Status.SUCCESS, again.reason


def test_a_package_over_its_own_limit_is_at_fault(build: Build) -> None:
    """`limits.disk_mb` is the package's; the disk has room."""
    report = build(WRITE, limits=LIMITS | {"disk_mb": 64})

    assert (report.status, report.fault) == (Status.FAILURE, Fault.PACKAGE)
    assert report.reason.startswith("rpmbuild and what it started wrote ")
    assert report.reason.endswith(" 64 MB of files in all (limits.disk_mb)")
    assert [artifact.name for artifact in report.artifacts] == ["build.log"]


def test_a_package_that_fills_the_disk_over_its_limit_is_at_fault(build: Build, small_disk: SmallDisk) -> None:
    """It would do so again."""
    small_disk.grow(48)
    report = build(WRITE, where=small_disk.path / "try", limits=LIMITS | {"disk_mb": 24, "free_mb": 16})

    assert (report.status, report.fault) == (Status.FAILURE, Fault.PACKAGE), report.reason


def test_words_about_a_full_disk_prove_nothing(build: Build) -> None:
    """A package that only prints them failed by itself."""
    report = build("echo No space left on device; exit 1")

    assert (report.status, report.fault) == (Status.FAILURE, Fault.PACKAGE)


def test_packages_that_cannot_be_published_can_be_later(build: Build, small_disk: SmallDisk) -> None:
    """The half-written repository is replaced by a whole one, and nothing else is left."""
    packages = small_disk.path / "packages"
    request = {"package_repo": str(packages / "run-1"), "package_link": str(packages / "hello_repo")}
    small_disk.fill(but_kb=8)
    report = build(**request)
    small_disk.grow(24)
    again = build(**request, where=build.base / "again")

    assert is_told(report), report
    assert again.status is Status.SUCCESS, again.reason
    assert sorted(path.name for path in packages.iterdir()) == ["hello_repo", "run-1"]


def test_a_disk_too_full_to_begin_on_is_told(build: Build, small_disk: SmallDisk) -> None:
    """Not even the request can be written there."""
    where = small_disk.path / "try"
    where.mkdir()
    small_disk.fill()
    report = build(where=where)

    assert is_told(report), report


def test_tests_on_a_disk_that_runs_full_are_not_unstable(
    carry_out: CarryOut, run_stage: RunStage, dist_git: DistGit, small_disk: SmallDisk, tmp_path: Path
) -> None:
    """A test that fails for want of room says nothing of the package."""
    play = "- hosts: localhost\n  gather_facts: false\n  tags: [classic]\n  tasks:\n    - ansible.builtin.shell: "
    rev = dist_git.commit({"hello.spec": SPEC.format(build="true"), "tests/tests.yml": f"{play}cd ..; {WRITE}\n"})
    repo = {"package_repo": str(tmp_path / "packages"), "dist_git_url": dist_git.url, "rev": rev}
    built = run_stage("build_package", package_link=str(tmp_path / "hello_repo"), **repo)
    report = carry_out("functional_tests", small_disk.path / "try-1", **repo)
    small_disk.grow(256)
    again = carry_out("functional_tests", small_disk.path / "try-2", **repo)

    assert built["status"] == "SUCCESS", built["reason"]
    assert is_told(report), report
    assert again.status is Status.SUCCESS, again.reason


def test_a_test_that_passes_when_there_is_room_again_is_not_flaky(
    carry_out: CarryOut, dist_git: DistGit, greeter: Path, small_disk: SmallDisk
) -> None:
    """It failed for the disk, and passed on its rerun: that is the builder's fault, not the test's."""
    once = f"test -e /artifacts/seen || {{ touch /artifacts/seen; cd ..; {WRITE} || {{ sleep 1; rm big; exit 1; }}; }}"
    rev = dist_git.commit({"tests/tests.yml": basic(once=once)})
    request = {"package_repo": str(greeter), "dist_git_url": dist_git.url, "rev": rev}
    small_disk.grow(24)  # the greeter lies there twice, with a link for each file of /usr
    report = carry_out("functional_tests", small_disk.path / "try", reruns={"times": 1, "most": 5}, **request)

    assert is_told(report), report
    assert "passed when run again: once" in report.reason
