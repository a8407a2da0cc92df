"""The build stage on the local toolchain: real dist-git repositories, the real rpmbuild, and what can be got wrong."""

from __future__ import annotations

import contextlib
import gzip
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.playbooks.stage_runs import LIMITS

if TYPE_CHECKING:
    from tests.playbooks.stage_runs import DistGit, RunStage

DEMO = Path(__file__).resolve().parents[2] / "demo" / "packages"
SPEC = """\
Name: hello
Version: 1.0
Release: {release}
Summary: Says hello
License: MIT
BuildArch: noarch
Source0: hello.sh
{more}
%description
Says hello.

%build
{build}

%install
install -D -m 0755 %{{SOURCE0}} %{{buildroot}}%{{_bindir}}/hello

%check
{check}

%files
%{{_bindir}}/hello
"""
SCRIPT = "#!/bin/sh\necho hello\n"


def spec(release: str = "1%{?dist}", build: str = ":", check: str = ":", more: str = "") -> str:
    """Return a spec with these scripts."""
    return SPEC.format(release=release, build=build, check=check, more=more)


class Build:
    """Builds a commit of the test's dist-git into the test's folders."""

    def __init__(self, run_stage: RunStage, dist_git: DistGit, base: Path) -> None:
        """Keep what every build needs."""
        self.run_stage, self.dist_git = run_stage, dist_git
        self.package_repo = base / "packages" / "run-1"
        self.package_link = base / "repo" / "hello_repo"

    def __call__(self, rev: str, **request: Any) -> dict[str, Any]:
        """Build and return the result."""
        common = {
            "dist_git_url": self.dist_git.url,
            "rev": rev,
            "package_repo": str(self.package_repo),
            "package_link": str(self.package_link),
        }
        return self.run_stage("build_package", **(common | request))


@pytest.fixture
def build(run_stage: RunStage, dist_git: DistGit, tmp_path: Path) -> Build:
    """Return a function that builds a commit."""
    return Build(run_stage, dist_git, tmp_path)


def test_unknown_package_is_the_packagers_fault(build: Build, tmp_path: Path) -> None:
    """A repository that dist-git does not have is a FAILURE that names it."""
    result = build("0" * 40, dist_git_url=(tmp_path / "dist-git" / "rpms" / "nothing").as_uri())

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert result["reason"].startswith("there is no repository rpms/hello in dist-git")


def test_unreachable_dist_git_is_the_infrastructures_fault(build: Build) -> None:
    """A server that does not answer may be tried again."""
    result = build("0" * 40, dist_git_url="git://127.0.0.1:1/rpms/hello")

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert "cannot be cloned from dist-git" in result["reason"]


def test_remote_helper_urls_are_refused(build: Build, tmp_path: Path) -> None:
    """A URL that would have git run a program is refused."""
    result = build("0" * 40, dist_git_url=f"ext::touch {tmp_path}/owned")

    assert result["status"] == "FAILURE"
    assert "not allowed" in result["reason"]
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("rev", ["f" * 40, "--all", "HEAD"])
def test_unknown_rev_fails(build: Build, dist_git: DistGit, rev: str) -> None:
    """What is not a full commit id of this repository is not built."""
    dist_git.commit({"hello.spec": spec(), "hello.sh": SCRIPT})

    result = build(rev)

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert ("has no commit" if rev == "f" * 40 else "is not a full commit id") in result["reason"]


def test_rev_of_another_branch_fails(build: Build, dist_git: DistGit) -> None:
    """A commit that the branch does not contain is not built for it."""
    dist_git.commit({"hello.spec": spec(), "hello.sh": SCRIPT})
    dist_git.git("checkout", "--quiet", "-b", "f27")
    rev = dist_git.commit(subject="Only in f27")

    result = build(rev)

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert result["reason"] == f"commit {rev} of rpms/hello is not on branch f26"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"README": "nothing"}, "no spec file"),
        ({"hello.spec": spec(), "other.spec": spec()}, "2 spec files (hello.spec, other.spec)"),
    ],
)
def test_none_or_two_specs_fail(build: Build, dist_git: DistGit, files: dict[str, str], reason: str) -> None:
    """A repository has exactly one spec."""
    result = build(dist_git.commit(files))

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert reason in result["reason"]


def test_symlinked_spec_is_refused(build: Build, dist_git: DistGit) -> None:
    """A spec that is a link to a file of the builder is not read."""
    (dist_git.path / "hello.spec").symlink_to("/etc/passwd")

    result = build(dist_git.commit())

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert "hello.spec is not a regular file" in result["reason"]
    assert "root" not in result["reason"]


def test_broken_spec_is_told_in_rpms_words(build: Build, dist_git: DistGit) -> None:
    """A spec that rpm cannot read: its complaint is the reason, and there is no NVR."""
    result = build(dist_git.commit({"hello.spec": "Name: hello\n%if\n"}))

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert result["reason"].startswith("hello.spec is not a valid spec: ")
    assert len(result["reason"]) > len("hello.spec is not a valid spec: ")
    assert result["outputs"]["original_spec_nvr"] == ""


def test_failing_check_keeps_both_nvrs(build: Build, dist_git: DistGit) -> None:
    """A failed %check is told apart from a failed build; both NVRs and the log are there, no repository is."""
    rev = dist_git.commit({"hello.spec": spec(check="echo 2 of 3 unit tests failed\nexit 1"), "hello.sh": SCRIPT})

    result = build(rev)

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert result["reason"] == "%check failed: 2 of 3 unit tests failed"
    assert result["outputs"]["original_spec_nvr"] == "hello-1.0-1.fc26"
    assert result["outputs"]["nvr"] == f"hello-1.0-1.1.{rev[:7]}.fc26"
    assert [artifact["name"] for artifact in result["artifacts"]] == ["build.log"]
    assert not build.package_repo.exists()
    assert not build.package_link.is_symlink()


def test_a_silent_check_is_told_by_its_command(build: Build, dist_git: DistGit) -> None:
    """A %check that says nothing: what it ran last is all there is to say."""
    result = build(dist_git.commit({"hello.spec": spec(check="exit 1"), "hello.sh": SCRIPT}))

    assert result["reason"] == "%check failed: + exit 1"


def test_failing_build_names_its_step(build: Build, dist_git: DistGit) -> None:
    """The reason says that %build failed, and its last words."""
    result = build(dist_git.commit({"hello.spec": spec(build="echo no compiler\nfalse"), "hello.sh": SCRIPT}))

    assert result["reason"] == "%build failed: no compiler"


def test_endless_build_is_stopped(build: Build, dist_git: DistGit) -> None:
    """A build that outlives its limit is stopped, with everything it started."""
    rev = dist_git.commit({"hello.spec": spec(build="sleep 987654 & sleep 987654"), "hello.sh": SCRIPT})
    limits = LIMITS | {"seconds": 3}

    result = build(rev, limits=limits)

    assert result["reason"] == "the build was stopped after 3 seconds"
    assert "987654" not in command_lines()


def command_lines() -> str:
    """Return the command lines of all processes there are."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_text(encoding="utf-8", errors="replace"))
    return "\n".join(found)


def test_missing_source_fails(build: Build, dist_git: DistGit) -> None:
    """A source listed but not uploaded is named."""
    rev = dist_git.commit({"hello.spec": spec(), "hello.sh": SCRIPT, "sources": f"SHA512 (data.txt) = {'0' * 128}\n"})

    result = build(rev, lookaside_url=str(dist_git.lookaside))

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert result["reason"] == "data.txt is listed in sources but not in the look-aside cache; upload it"
    assert result["outputs"]["original_spec_nvr"] == "hello-1.0-1.fc26"


def test_source_with_another_content_fails(build: Build, dist_git: DistGit) -> None:
    """A source that does not have the hash in `sources` is not built from."""
    line = dist_git.upload("data.txt", b"tampered", checksum="0" * 128)

    result = build(
        dist_git.commit({"hello.spec": spec(), "hello.sh": SCRIPT, "sources": line}),
        lookaside_url=dist_git.lookaside.as_uri(),
    )

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert "does not have the SHA512 in sources" in result["reason"]


def test_source_name_cannot_leave_its_folder(build: Build, dist_git: DistGit) -> None:
    """A file name with a path in it is refused before anything is fetched."""
    rev = dist_git.commit({"hello.spec": spec(), "hello.sh": SCRIPT, "sources": f"SHA512 (../x) = {'0' * 128}\n"})

    result = build(rev, lookaside_url=str(dist_git.lookaside))

    assert "unsafe file name" in result["reason"]


@pytest.mark.parametrize("where", ["build", "macro"])
def test_package_code_cannot_read_the_builders_files(
    build: Build, dist_git: DistGit, tmp_path: Path, where: str
) -> None:
    """Neither a build script nor a macro of the spec sees a file of the builder."""
    secret = tmp_path / "secret"
    secret.write_text("the-builders-secret", encoding="ascii")
    reading = f"cat {secret} 2>&1 || true"
    scripts = {"build": reading} if where == "build" else {"build": f"echo 'macro: %(%{{?nil}}{reading})'"}

    result = build(dist_git.commit({"hello.spec": spec(check="false", **scripts), "hello.sh": SCRIPT}))

    log = Path(result["artifacts"][0]["path"]).read_text(encoding="utf-8")
    assert "the-builders-secret" not in log + str(result)
    assert "No such file" in log


def test_package_code_has_no_network_and_no_privileges(build: Build, dist_git: DistGit) -> None:
    """In %check there is no interface but loopback, no capability, and not the builder's user."""
    commands = (
        r"sed -n 's/^ *\([^ :]*\):.*/interface \1/p' /proc/net/dev",
        "sed -n 's/^CapEff:/capabilities/p' /proc/self/status",
        "echo user $(id -u)",
        "false",
    )

    result = build(dist_git.commit({"hello.spec": spec(check="\n".join(commands)), "hello.sh": SCRIPT}))

    log = Path(result["artifacts"][0]["path"]).read_text(encoding="utf-8")
    said = dict(
        line.split(maxsplit=1) for line in log.splitlines() if line.startswith(("interface ", "capabilities", "user "))
    )
    assert log.count("\ninterface ") == 1
    assert said["interface"] == "lo"
    assert int(said["capabilities"], 16) == 0
    assert said["user"] != "0"


def test_success_publishes_an_indexed_repository(build: Build, dist_git: DistGit) -> None:
    """The RPM is what rpm says it is, the repository lists it, and the package's address leads there."""
    dist_git.commit({"hello.spec": spec(), "hello.sh": SCRIPT})
    rev = dist_git.commit(subject="Rebuild for the mass rebuild")

    result = build(rev)

    assert (result["status"], result["reason"], result["fault"]) == ("SUCCESS", "", "")
    outputs = result["outputs"]
    assert outputs["nvr"] == f"hello-1.0-1.2.{rev[:7]}.fc26"
    assert (outputs["commits"], outputs["commit_subject"]) == (2, "Rebuild for the mass rebuild")
    assert outputs["commit_time"] == "2026-01-02T03:04:05+00:00"
    assert outputs["packages"] == ["hello"]
    assert set(outputs["builder"]) >= {"createrepo_c", "kernel", "rpm"}
    assert query(build.package_repo / outputs["rpms"][0]) == f"{outputs['nvr']}.noarch"
    assert build.package_link.resolve() == build.package_repo
    assert not build.package_link.readlink().is_absolute()
    assert indexed(build.package_repo) == [outputs["rpms"][0]]


def test_a_side_runs_build_leaves_the_address_of_the_package_alone(
    build: Build, dist_git: DistGit, tmp_path: Path
) -> None:
    """Whoever asks for the newest build does not want an old revision."""
    build.package_link.parent.mkdir(parents=True)
    build.package_link.symlink_to(tmp_path / "newest")
    result = build(dist_git.commit({"hello.spec": spec(), "hello.sh": SCRIPT}), promote=False)

    assert result["status"] == "SUCCESS", result["reason"]
    assert indexed(build.package_repo)
    assert build.package_link.readlink() == tmp_path / "newest"


def query(rpm: Path) -> str:
    """Return what rpm says a file is."""
    command = ["/usr/bin/rpm", "-qp", "--nosignature", "--qf", "%{nvra}", str(rpm)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def indexed(repo: Path) -> list[str]:
    """Return the files that a repository's metadata lists."""
    primary = next((repo / "repodata").glob("*-primary.xml.gz"))
    return re.findall(r'<location href="([^"]+)"', gzip.decompress(primary.read_bytes()).decode())


def test_second_try_replaces_the_first(build: Build, dist_git: DistGit) -> None:
    """Building a run again leaves one repository, whole."""
    rev = dist_git.commit({"hello.spec": spec(), "hello.sh": SCRIPT})

    results = [build(rev), build(rev)]

    assert [result["status"] for result in results] == ["SUCCESS", "SUCCESS"]
    assert sorted(path.name for path in build.package_repo.parent.iterdir()) == ["run-1"]
    assert indexed(build.package_repo) == results[1]["outputs"]["rpms"]


@pytest.mark.parametrize("old", [True, False])
def test_sources_come_from_the_lookaside(build: Build, dist_git: DistGit, old: bool) -> None:  # noqa: FBT001
    """Both formats of `sources` are fetched, checked and built from."""
    line = dist_git.upload("data.txt", b"from the look-aside", old=old)
    text = spec(more="Source1: data.txt", check="grep 'from the look-aside' %{SOURCE1}")

    result = build(
        dist_git.commit({"hello.spec": text, "hello.sh": SCRIPT, "sources": line}),
        lookaside_url=str(dist_git.lookaside),
    )

    assert result["status"] == "SUCCESS", result["reason"]


@pytest.mark.parametrize(
    ("release", "more", "original", "stamped"),
    [
        ("1%{?dist}.2", "", "1.fc26.2", "1.1.{rev}.fc26.2"),
        ("3", "", "3", "3.1.{rev}"),
        ("%{rel}", "%global rel 7%{?dist}", "7.fc26", "7.1.{rev}.fc26"),
        ("%autorelease", "", "1.fc26", "1.1.{rev}.fc26"),
    ],
)
def test_release_is_stamped_before_the_dist(
    build: Build, dist_git: DistGit, release: str, more: str, original: str, stamped: str
) -> None:
    """Whatever way the Release is written, the count and the commit go before the dist tag."""
    text = f"{more}\n{spec(release=release)}"
    rev = dist_git.commit({"hello.spec": text, "hello.sh": SCRIPT})

    outputs = build(rev)["outputs"]

    assert outputs["original_spec_nvr"] == f"hello-1.0-{original}"
    assert outputs["nvr"] == f"hello-1.0-{stamped.format(rev=rev[:7])}"
    assert outputs["srpm"] == f"{outputs['nvr']}.src.rpm"


def test_rawhide_may_be_called_main(build: Build, dist_git: DistGit) -> None:
    """The branch rawhide of the pipeline is whatever dist-git calls it."""
    rev = dist_git.commit({"hello.spec": spec(), "hello.sh": SCRIPT})
    dist_git.git("branch", "--move", "main")

    assert build(rev, branch="rawhide")["status"] == "SUCCESS"


@pytest.mark.parametrize("name", ["greeter", "hostinfo"])
def test_packages_of_the_demo_build(build: Build, dist_git: DistGit, name: str) -> None:
    """The demo's packages build, with their unit tests in %check."""
    folder = DEMO / name
    files = {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()
    }

    result = build(dist_git.commit(files))

    assert result["status"] == "SUCCESS", result["reason"]
    assert result["outputs"]["packages"] == [name]
