"""Who runs the conformance tests: each suite is a command line, here of a stand-in that says how it was called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.playbooks.stage_runs import RunStage

LIMITS: Final = {"seconds": 60, "boot_seconds": 5, "memory_mb": 512, "disk_mb": 512, "processes": 64, "free_mb": 1}
PROGRAM: Final = """#!/bin/sh
# A stand-in for the suite's program.
printf '%s\\n' "$KUBECONFIG" "$@" >$REPORT_DIR/called
echo '<testsuite><testcase name="[sig-apps] one"/></testsuite>' >$REPORT_DIR/junit_01.xml
"""


@pytest.fixture
def call(run_stage: RunStage, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], list[str]]]:
    """Return a function that runs a suite; it returns the result, and the KUBECONFIG and arguments of its program."""
    program, folder = tmp_path / "program", tmp_path / "cluster"
    program.write_text(PROGRAM, encoding="ascii")
    program.chmod(0o755)
    folder.mkdir()
    (folder / "kubeconfig").write_text("clusters: []\n", encoding="ascii")
    chosen = {"program": str(program), "focus": r"\[Conformance\]", "skip": "", "parallel": 1, "arguments": []}
    cluster = {"cluster": "existing", "cluster_dir": str(folder), "kubeconfig": str(folder / "kubeconfig")}
    stage = {"image_dir": "", "image_name": "", "ready_seconds": 0, "look_seconds": 30, "limits": LIMITS}

    def run(suite: str, **request: Any) -> tuple[dict[str, Any], list[str]]:
        whole = chosen | cluster | stage | {"suite": suite} | request
        # A suite runs by itself; the stage looks at it again and again.
        while (result := run_stage("conformance_tests", **whole)).get("again_in"):
            pass
        called = next(iter(tmp_path.rglob("called")), None)
        return result, called.read_text(encoding="ascii").splitlines() if called else []

    return run


def test_hydrophone_gets_its_focus(call: Callable[..., tuple[dict[str, Any], list[str]]], tmp_path: Path) -> None:
    """Its JUnit goes where the stage looks for it; arguments are one word each, whatever is in them."""
    image = "--conformance-image=registry.example.com/conformance:v1.30.4"
    result, words = call("hydrophone", skip="slow tests|$(id)", parallel=4, arguments=[image])
    reports = tmp_path / "cluster" / "suite" / "reports"

    assert (result["status"], result["outputs"]["total"]) == ("SUCCESS", 1)
    assert words[1:] == [
        *(f"--kubeconfig={tmp_path}/cluster/kubeconfig", f"--output-dir={reports}", "--skip=slow tests|$(id)"),
        *("--parallel=4", r"--focus=\[Conformance\]", image),
    ]


def test_hydrophone_without_a_focus_runs_all_of_it(call: Callable[..., tuple[dict[str, Any], list[str]]]) -> None:
    """Its flag for that and a focus exclude each other."""
    _, words = call("hydrophone", focus="")

    assert "--conformance" in words
    assert not [word for word in words if word.startswith("--focus")]


def test_openshift_tests_get_their_focus(call: Callable[..., tuple[dict[str, Any], list[str]]], tmp_path: Path) -> None:
    """The kubeconfig is in the environment, since they have no flag for it."""
    result, words = call("openshift-tests", focus="sig-api machinery", parallel=2, arguments=["--count=1"])
    reports = tmp_path / "cluster" / "suite" / "reports"

    assert (result["status"], result["outputs"]["total"]) == ("SUCCESS", 1)
    assert words == [
        *(f"{tmp_path}/cluster/kubeconfig", "run", "kubernetes/conformance", f"--junit-dir={reports}"),
        *(f"--output-file={reports}/openshift-tests.log", "--max-parallel-tests=2", "--run=sig-api machinery"),
        "--count=1",
    ]


def test_openshift_tests_cannot_leave_tests_out(call: Callable[..., tuple[dict[str, Any], list[str]]]) -> None:
    """A setting that would be ignored is refused."""
    result, words = call("openshift-tests", skip="slow")

    assert (result["status"], result["fault"], words) == ("FAILURE", "infrastructure", [])
    assert result["reason"] == "openshift-tests knows no skip; choose with focus instead"
