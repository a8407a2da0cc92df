"""The build stage on the toolchain fedora: what mock and koji, two stand-ins, are asked, and what their ends mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.ci_koji import ScratchBuild
from ansible.module_utils.ci_mock import Mock
from ansible.module_utils.ci_stage import DiskFullError, StageError

from tests.playbooks.stage_runs import LIMITS, module

if TYPE_CHECKING:
    from tests.playbooks.fedora.stand_ins import Tools
    from tests.playbooks.stage_runs import DistGit, RunStage

SPEC = """\
Name: hello
Version: 1.0
Release: 1%{?dist}
Summary: Says hello
License: MIT
BuildArch: noarch
%description
Says hello.
%install
install -d %{buildroot}/usr/share/hello
%files
/usr/share/hello
"""
MOCK = {"config": "fedora-26-x86_64", "isolation": "auto"}
KOJI = {"profile": "koji", "target": "f26", "arch": "x86_64", "decisive": False, "wait_seconds": 30}
NVR = "hello-1.0-1.1.1234567.fc26"


@pytest.fixture
def params(tmp_path: Path) -> dict[str, Any]:
    """Return the parameters of the module."""
    source, workspace = tmp_path / "source", tmp_path / "workspace"
    for folder in (source, workspace):
        folder.mkdir()
    (source / "hello.spec").write_text(SPEC)
    names = {"namespace": "rpms", "repo": "hello", "rev": "1234567" + "0" * 33, "dist": ".fc26", "macros": ""}
    return names | {
        "source": str(source),
        "commits": 1,
        "author_time": "2026-01-02T03:04:05+00:00",
        "lookaside_url": "",
        "package_repo": str(tmp_path / "repo"),
        "package_link": None,
        "mock": MOCK,
        "koji": None,
        "reuse": None,
        "workspace": str(workspace),
        "limits": LIMITS,
    }


def build(params: dict[str, Any], **other: Any) -> dict[str, Any]:
    """Build a package."""
    built: dict[str, Any] = module("build_package").build_package(params | other)
    return built


def failed(params: dict[str, Any], **other: Any) -> StageError:
    """Build a package that fails; return why."""
    with pytest.raises(StageError) as error:
        build(params, **other)
    return error.value


@pytest.mark.parametrize(
    ("code", "logs", "fault", "sentence"),
    [
        (1, {"says": "ERROR: boom"}, "infrastructure", "mock ended with exit code 1: ERROR: boom"),
        (2, {}, "infrastructure", "usermod -a -G mock ACCOUNT"),
        (
            3,
            {"says": "ERROR: no such config"},
            "infrastructure",
            "mock's configuration is wrong: ERROR: no such config",
        ),
        (6, {}, "infrastructure", "mock cannot build for this architecture on this builder"),
        (
            10,
            {"build_log": "+ exit 1\nboom\nerror: Bad exit status from /var/tmp/rpm-tmp.x (%check)\n"},
            "package",
            "%check failed: boom",
        ),
        (11, {}, "package", "the build was stopped after 120 seconds"),
        (20, {"says": "ERROR: chroot"}, "infrastructure", "mock could not work in its chroot (root.log)"),
        (
            30,
            {"root_log": "DEBUG util.py:  No matching package to install: 'nothing-devel'\n"},
            "package",
            "its build requirements cannot be installed: No matching package to install: 'nothing-devel'",
        ),
        (
            30,
            {"root_log": "Failed to download metadata for repo 'fedora'\nNo match for argument: gcc\n"},
            "infrastructure",
            "mock's package manager failed (root.log)",
        ),
        (31, {}, "package", "it requires something external"),
        (40, {}, "package", "mock cannot read its SRPM"),
        (60, {}, "infrastructure", "another mock uses the same chroot"),
        (143, {"says": "killed"}, "infrastructure", "mock ended with exit code 143: killed"),
    ],
)
def test_the_end_of_mock_says_whose_fault_it_was(
    params: dict[str, Any], tools: Tools, code: int, logs: dict[str, str], fault: str, sentence: str
) -> None:
    """By the exit codes it documents. Its logs are kept."""
    tools.says("mock", code=code, **logs)
    mock = Mock(params)
    with pytest.raises(StageError) as error:
        mock.rebuild(Path("/hello.src.rpm"), 60)

    assert error.value.fault == fault
    assert sentence in str(error.value)
    assert [Path(one["path"]).name for one in mock.artifacts()] == ["mock.log", "build.log", "root.log", "state.log"]


def test_a_full_disk_is_no_fault_of_the_package(params: dict[str, Any], tools: Tools) -> None:
    """Whatever mock makes of it. Words alone prove nothing: there must be little room."""
    tools.says("mock", code=10, build_log="error: Bad exit status from x (%build)\nNo space left on device\n")
    with pytest.raises(DiskFullError):
        Mock(params | {"limits": LIMITS | {"free_mb": 1 << 40}}).rebuild(Path("/hello.src.rpm"), 60)


@pytest.mark.parametrize("name", ["/tmp/evil.cfg", "evil.cfg", "../evil", "-r", ""])  # noqa: S108
def test_a_path_is_no_configuration(params: dict[str, Any], tools: Tools, name: str) -> None:
    """A configuration is a Python program that mock runs."""
    with pytest.raises(StageError, match="is not the name of a mock configuration"):
        Mock(params | {"mock": MOCK | {"config": name}}).rebuild(Path("/hello.src.rpm"), 60)

    assert tools.calls("mock") == []


def test_mock_that_is_missing_is_said(params: dict[str, Any]) -> None:
    """This machine has none. The NVRs are known all the same."""
    error = failed(params)

    assert (error.fault, str(error)) == ("infrastructure", "mock is not installed on this builder; install it")
    assert error.part["outputs"] == {"original_spec_nvr": "hello-1.0-1.fc26", "nvr": NVR}


def test_what_mock_is_asked(params: dict[str, Any], tools: Tools) -> None:
    """A chroot of the run's own, the branch's dist, no network; what it built is published as ever."""
    built = build(params)
    (call,) = tools.calls("mock")
    results = Path(params["workspace"]) / "mock"

    assert call[:2] == ["-r", "fedora-26-x86_64"]
    assert call[2].startswith("--uniqueext=ci-")
    assert call[3:6] == [f"--resultdir={results}", "--define=dist .fc26", "--isolation=auto"]
    assert call[7:10] == [
        "--config-opts=rpmbuild_networking=False",
        "--config-opts=use_host_resolv=False",
        "--cleanup-after",
    ]
    assert call[10] == "--rebuild"
    assert Path(call[11]).name == f"{NVR}.src.rpm"
    assert built["outputs"]["rpms"] == [f"{NVR}.noarch.rpm"]
    assert (Path(params["package_repo"]) / "repodata" / "repomd.xml").is_file()
    assert "koji" not in built["outputs"]


def test_a_build_that_fails_in_mock_is_read_as_any(params: dict[str, Any], tools: Tools) -> None:
    """The stand-in really builds: the step and its last words."""
    Path(params["source"], "hello.spec").write_text(SPEC + "%check\necho oh no\nexit 1\n")

    assert str(failed(params)) == "%check failed: oh no"


def test_a_scratch_build_goes_on_beside(params: dict[str, Any], tools: Tools) -> None:
    """Of the same SRPM, for the branch's target and architecture; no secret is on a command line."""
    built = build(params, koji=KOJI)
    submitted, watched = tools.calls("koji")

    assert submitted[:6] == [
        "--profile=koji",
        "build",
        "--scratch",
        "--nowait",
        "--noprogress",
        "--arch-override=x86_64",
    ]
    assert (submitted[6], Path(submitted[7]).name) == ("f26", f"{NVR}.src.rpm")
    assert watched == ["--profile=koji", "watch-task", "4711"]
    assert built["outputs"]["koji"] == {
        "task": 4711,
        "url": "https://koji.example.org/koji/taskinfo?taskID=4711",
        "state": "closed",
        "reason": "",
    }


BUILD_FAILED = "  4712 buildArch (hello, x86_64): open -> FAILED: BuildError: error building package (arch x86_64), %s"


@pytest.mark.parametrize(
    ("files", "state", "fault"),
    [
        ({"watch_code": 1, "watched": BUILD_FAILED % "mock exited with status 1; see build.log"}, "failed", "package"),
        ({"watch_code": 1, "watched": BUILD_FAILED % "mock exited with status 10"}, "failed", "package"),
        (
            {
                "watch_code": 1,
                "watched": BUILD_FAILED % "mock exited with status 30; see root.log",
            },
            "failed",
            "infrastructure",
        ),
        ({"watch_code": 1, "watched": "4711 build: open -> canceled"}, "canceled", "infrastructure"),
        ({"watch_code": 2, "watched": "Error: connection refused"}, "unknown", "infrastructure"),
        ({"hangs": ""}, "open", "infrastructure"),
        ({"code": 1, "says": "AuthError: unable to obtain a session"}, "not submitted", "infrastructure"),
    ],
)
def test_a_scratch_build_that_fails_is_reported_or_decides(
    tools: Tools, tmp_path: Path, files: dict[str, Any], state: str, fault: str
) -> None:
    """As configured."""
    tools.says("koji", **files)
    reported = ScratchBuild(KOJI, tmp_path)
    reported.submit(Path("/hello.src.rpm"))
    reported.judge(1)
    decisive = ScratchBuild(KOJI | {"decisive": True}, tmp_path)
    with pytest.raises(StageError) as error:
        judge(decisive)

    assert reported.outputs["state"] == decisive.outputs["state"] == state
    assert reported.outputs["reason"]
    assert error.value.fault == fault


def judge(scratch: ScratchBuild) -> None:
    """Submit a scratch build, and wait for a second."""
    scratch.submit(Path("/hello.src.rpm"))
    scratch.judge(1)


def test_the_playbook_chooses_by_the_toolchain(
    run_stage: RunStage, dist_git: DistGit, tools: Tools, tmp_path: Path
) -> None:
    """The whole stage; its result tells what Koji made of it."""
    rev = dist_git.commit({"hello.spec": SPEC})
    places = {"package_repo": str(tmp_path / "repo"), "package_link": str(tmp_path / "link")}
    common = {"dist_git_url": dist_git.url, "rev": rev, "toolchain": "fedora", "mock": MOCK, "koji": KOJI}
    result = run_stage("build_package", **places, **common)

    assert result["status"] == "SUCCESS", result["reason"]
    assert result["outputs"]["koji"]["state"] == "closed"
    assert sum("--rebuild" in call for call in tools.calls("mock")) == 1
