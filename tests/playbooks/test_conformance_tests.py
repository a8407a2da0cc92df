"""The suite: badly set up, hanging, found again, and its JUnit believed only where it makes sense.

Here are stand-ins of a suite and of kubectl; a real API server with its own suite: the folder conformance.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from ansible.module_utils.ci_cluster import Cluster
from ansible.module_utils.ci_stage import InfrastructureError

from tests.playbooks.stage_runs import module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.playbooks.stage_runs import CarryOut, RunStage

    Run = Callable[..., dict[str, Any]]
    Look = Run

LIMITS = {"seconds": 5, "boot_seconds": 5, "memory_mb": 512, "disk_mb": 512, "processes": 64, "free_mb": 1}
PASSED = '<testcase name="pods start" time="2"/>'
FAILED = '<testcase name="services answer"><failure message="timed out">trace</failure></testcase>'
SKIPPED = '<testcase name="node reboots"><skipped/></testcase>'


@pytest.fixture
def look(run_stage: RunStage, tmp_path: Path) -> Iterator[Look]:
    """Return a function that runs the stage's playbook once, with a shell script as the conformance command."""
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    (cluster / "kubeconfig").write_text("apiVersion: v1\n", encoding="ascii")

    def once(script: str, *, workspace: Path | None = None, **request: Any) -> dict[str, Any]:
        where = {"cluster_dir": str(cluster), "ready_seconds": 0, "look_seconds": 15}
        suite = {"suite": "command", "command": ["/bin/sh", "-c", script]}
        images = {"image_dir": "/images", "image_name": "host.qcow2", "limits": LIMITS}
        folder = workspace or tmp_path / "conformance_tests-1"
        return run_stage("conformance_tests", workspace=folder, **(where | suite | images | request))

    yield once
    Cluster(cluster).end()


@pytest.fixture
def run(look: Look, tmp_path: Path) -> Run:
    """Return a function that looks until the suite has ended; each call is a try of its own."""
    tries = itertools.count(1)

    def conformance(script: str, **request: Any) -> dict[str, Any]:
        workspace = tmp_path / f"conformance_tests-{next(tries)}"
        while (result := look(script, workspace=workspace, **request))["again_in"]:
            pass
        return result

    return conformance


def junit(content: str, code: int = 0, name: str = "junit_01.xml") -> str:
    """Return a script that leaves a JUnit file and ends with a code."""
    return f"cat > $REPORT_DIR/{name} <<'END'\n{content}\nEND\nexit {code}"


@pytest.mark.parametrize(
    ("request_keys", "reason"),
    [
        ({"cluster_dir": "/nonexistent"}, "the kubeconfig /nonexistent/kubeconfig is gone; clear configure_cluster"),
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
def test_what_is_not_a_test_run_is_never_judged_one(tmp_path: Path, script: str, reason: str) -> None:
    """No report, an empty one, one that contradicts itself or the exit code."""
    ended = subprocess.run(
        ["/bin/sh", "-c", script], env={"PATH": os.environ["PATH"], "REPORT_DIR": str(tmp_path)}, check=False
    )

    with pytest.raises(InfrastructureError) as caught:
        module("run_conformance").judge(ended.returncode, tmp_path, ())

    assert reason in str(caught.value)


def test_what_is_not_a_test_run_never_passes(run: Run) -> None:
    """It is a FAILURE of the infrastructure."""
    result = run(junit(f"<testsuite>{PASSED}</testsuite>", code=7))

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert "ended with exit code 7 although no test failed" in result["reason"]


def test_command_that_hangs_is_stopped(run: Run) -> None:
    """The command and what it started end with the stage's time."""
    result = run("echo starting; sleep 876543 & sleep 876543")

    assert result["reason"] == "the conformance command was stopped after 5 seconds"
    assert result["seconds"] >= LIMITS["seconds"]
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


def test_a_failure_that_is_known_does_not_count(run: Run) -> None:
    """Though the suite ends with a failure, too."""
    rule = {"test": "services.*", "tracker": "https://bugs.example.org/7", "until": "2027-01-31", "expired": False}
    result = run(junit(f'<testsuite failures="1">{PASSED}{FAILED}</testsuite>', code=1), quarantine=[rule])

    assert (result["status"], result["reason"]) == ("SUCCESS", "1 that failed is quarantined: services answer")
    assert result["outputs"] == {"total": 2, "failed": 0, "skipped": 0, "quarantined": 1}
    assert [test["outcome"] for test in result["tests"]] == ["passed", "quarantined"]


@pytest.mark.parametrize("root", ["<testsuite>{}</testsuite>", "<testsuites><testsuite>{}</testsuite></testsuites>"])
def test_thousands_of_skipped_cases_and_one_that_passed(run: Run, tmp_path: Path, root: str) -> None:
    """Both shapes of JUnit pass when what was executed passed; kubeconfig, folder and image are in the environment."""
    (tmp_path / "report").write_text(root.format(PASSED + SKIPPED * 5666), encoding="ascii")
    given = "test -f $KUBECONFIG && test $IMAGE = /images/host.qcow2 || exit 9"

    result = run(f"{given}\ncp {tmp_path}/report $REPORT_DIR/junit.xml")

    assert (result["status"], result["reason"]) == ("SUCCESS", "")
    assert result["outputs"] == {"total": 1, "failed": 0, "skipped": 5666}
    assert names(result) == ["conformance.log", "junit.xml"]


def test_a_suite_that_takes_long_is_left_alone_and_found_again(look: Look, tmp_path: Path) -> None:
    """The playbook ends, the suite goes on; another try of the stage finds it and is told how it ended."""
    go = tmp_path / "go"
    script = f"while ! test -e {go}; do sleep 0.1; done\n" + junit(f"<testsuite>{PASSED}</testsuite>")
    first = look(script, limits=LIMITS | {"seconds": 600})
    pid = int((tmp_path / "cluster" / "suite" / "pid").read_text(encoding="ascii").split()[0])
    command = psutil.Process(pid).cmdline()
    go.touch()
    second = look("exit 9", workspace=tmp_path / "conformance_tests-2", limits=LIMITS | {"seconds": 600})

    assert (first["status"], first["again_in"], first["tests"]) == ("SUCCESS", 15, [])
    assert command[3] == f"@{tmp_path}/cluster/suite"
    assert (second["status"], second["again_in"]) == ("SUCCESS", 0)
    assert [test["name"] for test in second["tests"]] == ["pods start"]
    assert all(tmp_path / "conformance_tests-2" in Path(item["path"]).parents for item in second["artifacts"])


def test_a_suite_that_was_killed_is_the_infrastructures_fault_and_starts_anew(look: Look, tmp_path: Path) -> None:
    """What it had left is no verdict."""
    look(
        junit(f"<testsuite>{PASSED}</testsuite>", code=0).replace("exit 0", "sleep 600"),
        limits=LIMITS | {"seconds": 600},
    )
    pid = int((tmp_path / "cluster" / "suite" / "pid").read_text(encoding="ascii").split()[0])
    os.killpg(pid, signal.SIGKILL)
    killed = look("exit 9", limits=LIMITS | {"seconds": 600})
    again = look(junit(f"<testsuite>{PASSED}</testsuite>"), workspace=tmp_path / "conformance_tests-2")

    assert (killed["status"], killed["fault"]) == ("FAILURE", "infrastructure")
    assert killed["reason"] == "the conformance command was killed before it could end"
    assert again["status"] == "SUCCESS"


def test_a_cluster_that_breaks_down_meanwhile_is_the_infrastructures_fault(run: Run, kubectl: Path) -> None:
    """Whatever failed with it; what was found is kept."""
    broken = junit(f'<testsuite failures="1">{PASSED}{FAILED}</testsuite>', code=1)
    result = run(f"rm {kubectl}/ready\n{broken}", ready_seconds=0.2)

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert "the API server is not ready" in result["reason"]
    assert [test["outcome"] for test in result["tests"]] == ["passed", "failed"]


def test_a_suite_that_crashed_keeps_what_it_had_found(run: Run) -> None:
    """Half a report is no report; one that is whole, of the specs by then, counts as that and no more."""
    result = run(junit(f"<testsuite>{PASSED}{FAILED}", code=2))

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert "is not JUnit" in result["reason"]
    assert names(result) == ["conformance.log", "junit_01.xml"]

    crashed = run(junit(f"<testsuite>{PASSED}</testsuite>", code=2))

    assert "ended with exit code 2 although no test failed" in crashed["reason"]
    assert [test["name"] for test in crashed["tests"]] == ["pods start"]


def names(result: dict[str, Any]) -> list[str]:
    """Return what the suite left; what the cluster said of itself is there where there is a kubectl."""
    return [item["name"] for item in result["artifacts"] if item["name"] != "cluster.log"]


def reports(result: dict[str, Any]) -> Path:
    """Return the folder of the reports."""
    return next(Path(item["path"]).parent for item in result["artifacts"] if item["kind"] == "junit")


E2E = """#!/bin/sh
# A stand-in for e2e.test: it says how it was called, and how far it is.
for word; do case $word in --report-dir=*) reports=${word#*=} ;; esac; done
test "$reports" = "$REPORT_DIR" || exit 9
printf '%s\\n' "$0" "$@" >$REPORT_DIR/called
echo '{"msg":"PASSED [sig-apps] one","total":2,"completed":1,"skipped":7,"failed":0}'
sleep 2.5
echo '{"msg":"FAILED [sig-apps] two","total":2,"completed":1,"skipped":7,"failed":1}'
sleep 1.5
echo '<testsuite><testcase name="[sig-apps] one"/></testsuite>' >$reports/junit_01.xml
"""


@pytest.fixture
def e2e(tmp_path: Path) -> Path:
    """The stand-in for the binary."""
    program = tmp_path / "e2e.test"
    program.write_text(E2E, encoding="ascii")
    program.chmod(0o755)
    return program


def suite(program: Path, **more: Any) -> dict[str, Any]:
    """Return the request keys of the suite e2e."""
    chosen = {"focus": r"\[Conformance\]", "skip": "", "parallel": 1, "arguments": []}
    return {"suite": "e2e", "program": str(program), "limits": LIMITS | {"seconds": 60}, **chosen, **more}


def called(result: dict[str, Any]) -> list[str]:
    """Return how the binary was called."""
    return (reports(result) / "called").read_text(encoding="ascii").splitlines()


def test_the_binary_gets_its_focus(run: Run, e2e: Path, tmp_path: Path) -> None:
    """Arguments are one word each, whatever is in them."""
    result = run("", **suite(e2e, skip="slow tests|$(id)", arguments=["--minStartupPods=0"]))
    words = called(result)

    assert result["status"] == "SUCCESS"
    assert words[0] == str(e2e)
    assert words[1] == f"--kubeconfig={tmp_path}/cluster/kubeconfig"
    assert words[-3:] == [r"--ginkgo.focus=\[Conformance\]", "--ginkgo.skip=slow tests|$(id)", "--minStartupPods=0"]


def test_a_suite_says_how_far_it_is(
    carry_out: CarryOut, e2e: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As it goes, in the log of the task."""
    caplog.set_level(logging.INFO)
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    (cluster / "kubeconfig").touch()
    where = {"cluster_dir": str(cluster), "ready_seconds": 0, "look_seconds": 15}
    carry_out("conformance_tests", tmp_path / "run" / "conformance_tests-1", **where, **suite(e2e))

    assert [record.message for record in caplog.records if " specs, " in record.message] == [
        "1 of 2 specs, 0 failed: PASSED [sig-apps] one",
        "2 of 2 specs, 1 failed: FAILED [sig-apps] two",
    ]


def test_several_specs_at_once_need_ginkgo(run: Run, e2e: Path, kubectl: Path) -> None:
    """It starts the binary, so many times."""
    missing = run("", **suite(e2e, parallel=4))
    ginkgo = kubectl / "ginkgo"
    ginkgo.write_text('#!/bin/sh\necho "$@" >>$REPORT_DIR/ginkgo\nshift 3\nexec $0-e2e "$@"\n', encoding="ascii")
    ginkgo.chmod(0o755)
    (kubectl / "ginkgo-e2e").symlink_to(e2e)
    result = run("", **suite(e2e, parallel=4))

    assert missing["reason"] == "the conformance command ginkgo is not installed here"
    assert result["status"] == "SUCCESS"
    assert (reports(result) / "ginkgo").read_text(encoding="ascii").startswith(f"--nodes=4 {e2e} -- --kubeconfig=")
