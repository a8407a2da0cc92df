"""The conformance stage: off, badly set up, and a command whose JUnit is believed only where it makes sense."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.playbooks.stage_runs import RunStage

    Run = Callable[..., dict[str, Any]]

LIMITS = {"seconds": 5, "boot_seconds": 5, "memory_mb": 512, "disk_mb": 512, "processes": 64, "free_mb": 1}
PASSED = '<testcase name="pods start" time="2"/>'
FAILED = '<testcase name="services answer"><failure message="timed out">trace</failure></testcase>'
SKIPPED = '<testcase name="node reboots"><skipped/></testcase>'


@pytest.fixture
def run(run_stage: RunStage, tmp_path: Path) -> Run:
    """Return a function that runs the stage with a shell script as the conformance command."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("apiVersion: v1\n", encoding="ascii")

    def conformance(script: str, **request: Any) -> dict[str, Any]:
        common = {"cluster": "existing", "kubeconfig": str(kubeconfig), "command": ["/bin/sh", "-c", script]}
        images = {"image_dir": "/images", "image_name": "host.qcow2", "limits": LIMITS}
        return run_stage("conformance_tests", **(common | images | request))

    return conformance


def junit(content: str, code: int = 0, name: str = "junit_01.xml") -> str:
    """Return a script that leaves a JUnit file and ends with a code."""
    return f"cat > $REPORT_DIR/{name} <<'END'\n{content}\nEND\nexit {code}"


def test_no_cluster_is_skipped_with_the_setting_to_change(run: Run) -> None:
    """Off is skipped, and says which setting turns it on."""
    result = run("exit 1", cluster="none")

    assert (result["status"], result["fault"], result["tests"]) == ("SKIPPED", "", [])
    assert result["reason"] == 'conformance is off: cluster = "none" in pipeline.toml'


@pytest.mark.parametrize(
    ("request_keys", "reason"),
    [
        ({"kubeconfig": "/nonexistent/kubeconfig"}, "the kubeconfig /nonexistent/kubeconfig does not exist"),
        ({"command": ["no-such-conformance"]}, "no-such-conformance is not installed"),
        ({"command": []}, "is not installed"),
    ],
)
def test_bad_setup_is_the_infrastructures_fault(run: Run, request_keys: dict[str, Any], reason: str) -> None:
    """A missing kubeconfig or command is named."""
    result = run("true", **request_keys)

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert reason in result["reason"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 0", "left no JUnit file"),
        ("exit 3", "(exit code 3) left no JUnit file"),
        (junit(f"<testsuite>{PASSED}</testsuite>", code=7), "ended with exit code 7 although no test failed"),
        (junit(f"<testsuite>{SKIPPED}{SKIPPED}</testsuite>"), "no conformance test was executed"),
        (junit("<testsuites/>"), "no conformance test was executed"),
        (junit('<testsuite tests="17" failures="17"/>', code=1), "reports 17 failures but only 0 failing cases"),
        (junit(f'<testsuite tests="17" failures="17">{PASSED}</testsuite>'), "reports 17 failures but only 0 failing"),
        (junit("<html/>"), "is not JUnit: its root is <html>"),
        (junit("<testsuite>"), "is not JUnit"),
        (junit(f'<!DOCTYPE a [<!ENTITY b "c">]><testsuite>{PASSED}</testsuite>'), "document type"),
        ("ln -s /etc/passwd $REPORT_DIR/junit.xml", "left no JUnit file"),
    ],
)
def test_what_is_not_a_test_run_never_passes(run: Run, script: str, reason: str) -> None:
    """No report, an empty one, one that contradicts itself or the exit code: a FAILURE of the infrastructure."""
    result = run(script)

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert reason in result["reason"]


def test_command_that_hangs_is_stopped(run: Run) -> None:
    """The command and what it started end with the stage's time."""
    result = run("echo starting; sleep 876543 & sleep 876543")

    assert result["reason"] == "the conformance command was stopped after 5 seconds"
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"876543" in _read(path)]
    assert Path(result["artifacts"][0]["path"]).read_text(encoding="utf-8") == "starting\n"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_failing_case_is_unstable(run: Run) -> None:
    """Failing cases are named; skipped ones are counted and not listed."""
    result = run(junit(f'<testsuite failures="1">{PASSED}{FAILED}{SKIPPED}</testsuite>', code=1))

    assert (result["status"], result["fault"]) == ("UNSTABLE", "")
    assert result["reason"] == "1 of 2 conformance tests failed: services answer"
    assert result["outputs"] == {"total": 2, "failed": 1, "skipped": 1}
    assert [(test["name"], test["outcome"], test["message"]) for test in result["tests"]] == [
        ("pods start", "passed", ""),
        ("services answer", "failed", "timed out"),
    ]


@pytest.mark.parametrize("root", ["<testsuite>{}</testsuite>", "<testsuites><testsuite>{}</testsuite></testsuites>"])
def test_thousands_of_skipped_cases_and_one_that_passed(run: Run, tmp_path: Path, root: str) -> None:
    """Both shapes of JUnit pass when what was executed passed; kubeconfig, folder and image are in the environment."""
    (tmp_path / "report").write_text(root.format(PASSED + SKIPPED * 5666), encoding="ascii")
    given = "test -f $KUBECONFIG && test $IMAGE = /images/host.qcow2 || exit 9"

    result = run(f"{given}\ncp {tmp_path}/report $REPORT_DIR/junit.xml")

    assert (result["status"], result["reason"]) == ("SUCCESS", "")
    assert result["outputs"] == {"total": 1, "failed": 0, "skipped": 5666}
    assert [item["kind"] for item in result["artifacts"]] == ["log", "junit"]
