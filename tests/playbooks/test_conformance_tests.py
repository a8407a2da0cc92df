"""The conformance stage: off, badly set up, and a suite whose JUnit is believed only where it makes sense.

Here are stand-ins of a suite and of kubectl; a real API server with its own suite: the folder conformance.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.playbooks.stage_runs import CarryOut, RunStage

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
        common = {"cluster": "existing", "kubeconfig": str(kubeconfig), "ready_seconds": 0}
        suite = {"suite": "command", "command": ["/bin/sh", "-c", script]}
        images = {"image_dir": "/images", "image_name": "host.qcow2", "limits": LIMITS}
        return run_stage("conformance_tests", **(common | suite | images | request))

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


KUBECTL = """#!/bin/sh
# A stand-in for kubectl: it says what lies in files.
for word; do
    case $word in
        /readyz) test -e {folder}/ready && exit || {{ echo "connection refused" >&2; exit 1; }} ;;
        nodes | deployments | version) cat {folder}/$word; exit ;;
    esac
done
exit 9
"""


def items(**conditions: tuple[str, str]) -> str:
    """Return objects as kubectl lists them: a name, and one condition with its status."""
    named = [
        {"metadata": {"name": name}, "status": {"conditions": [{"type": condition, "status": status}]}}
        for name, (condition, status) in conditions.items()
    ]
    return json.dumps({"items": named})


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what kubectl says of a cluster that is ready; the stand-in is on the PATH."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    kubectl = folder / "kubectl"
    kubectl.write_text(KUBECTL.format(folder=folder), encoding="ascii")
    kubectl.chmod(0o755)
    (folder / "ready").touch()
    (folder / "nodes").write_text(items(one=("Ready", "True"), two=("Ready", "True")), encoding="ascii")
    (folder / "deployments").write_text(items(coredns=("Available", "True")), encoding="ascii")
    (folder / "version").write_text('{"serverVersion": {"gitVersion": "v1.30.2"}}', encoding="ascii")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_a_ready_cluster_is_tested_and_its_version_recorded(run: Run, cluster: Path) -> None:
    """The suite begins when all is there."""
    result = run(junit(f"<testsuite>{PASSED}</testsuite>"), ready_seconds=30)

    assert (result["status"], result["outputs"]["cluster_version"]) == ("SUCCESS", "v1.30.2")


def test_a_cluster_that_becomes_ready_is_waited_for(run: Run, cluster: Path) -> None:
    """Between one look and the next the last of it comes up."""
    looked = f'test -e {cluster}/looked || {{ touch {cluster}/looked; echo "{{\\"items\\": []}}"; exit; }}\n'
    kubectl = (cluster / "kubectl").read_text(encoding="ascii")
    (cluster / "kubectl").write_text(kubectl.replace("for word", looked + "for word"), encoding="ascii")
    result = run(junit(f"<testsuite>{PASSED}</testsuite>"), ready_seconds=30)

    assert result["status"] == "SUCCESS"
    assert (cluster / "looked").exists()


@pytest.mark.parametrize(
    ("name", "content", "missing"),
    [
        ("ready", None, "the API server is not ready: connection refused"),
        ("nodes", '{"items": []}', "there is no node"),
        ("nodes", items(one=("Ready", "True"), two=("Ready", "Unknown")), "1 of 2 nodes are not Ready: two"),
        ("nodes", items(one=("MemoryPressure", "True")), "1 of 1 nodes are not Ready: one"),
        ("nodes", "<html>", "kubectl get nodes answered nonsense"),
        (
            "deployments",
            items(coredns=("Available", "False")),
            "1 of 1 deployments in kube-system are not available",
        ),
    ],
)
def test_a_cluster_that_is_not_ready_is_the_infrastructures_fault(
    run: Run, cluster: Path, name: str, content: str | None, missing: str
) -> None:
    """What is missing is said; no test is run."""
    if content is None:
        (cluster / name).unlink()
    else:
        (cluster / name).write_text(content, encoding="ascii")
    result = run("touch $REPORT_DIR/ran", ready_seconds=0.2)

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert result["reason"].startswith("the cluster is not ready after 0 s: ")
    assert missing in result["reason"]
    assert result["tests"] == []


def test_a_cluster_that_breaks_down_meanwhile_is_the_infrastructures_fault(run: Run, cluster: Path) -> None:
    """Whatever failed with it; what was found is kept."""
    broken = junit(f'<testsuite failures="1">{PASSED}{FAILED}</testsuite>', code=1)
    result = run(f"rm {cluster}/ready\n{broken}", ready_seconds=0.2)

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert "the API server is not ready" in result["reason"]
    assert [test["outcome"] for test in result["tests"]] == ["passed", "failed"]


def test_a_suite_that_crashed_keeps_what_it_had_found(run: Run) -> None:
    """Half a report is no report; one that is whole, of the specs by then, counts as that and no more."""
    result = run(junit(f"<testsuite>{PASSED}{FAILED}", code=2))

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert "is not JUnit" in result["reason"]
    assert [item["kind"] for item in result["artifacts"]] == ["log", "junit"]

    crashed = run(junit(f"<testsuite>{PASSED}</testsuite>", code=2))

    assert "ended with exit code 2 although no test failed" in crashed["reason"]
    assert [test["name"] for test in crashed["tests"]] == ["pods start"]


E2E = """#!/bin/sh
# A stand-in for e2e.test: it says how it was called, and how far it is.
for word; do case $word in --report-dir=*) reports=${word#*=} ;; esac; done
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
    reports = Path(result["artifacts"][-1]["path"]).parent
    return (reports / "called").read_text(encoding="ascii").splitlines()


def test_the_binary_gets_its_focus(run: Run, e2e: Path, tmp_path: Path) -> None:
    """Arguments are one word each, whatever is in them."""
    result = run("", **suite(e2e, skip="slow tests|$(id)", arguments=["--minStartupPods=0"]))
    words = called(result)

    assert result["status"] == "SUCCESS"
    assert words[0] == str(e2e)
    assert words[1] == f"--kubeconfig={tmp_path}/kubeconfig"
    assert words[-3:] == [r"--ginkgo.focus=\[Conformance\]", "--ginkgo.skip=slow tests|$(id)", "--minStartupPods=0"]


def test_a_suite_says_how_far_it_is(
    carry_out: CarryOut, e2e: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As it goes, in the log of the task."""
    caplog.set_level(logging.INFO)
    cluster = {"cluster": "existing", "kubeconfig": str(e2e), "ready_seconds": 0}
    carry_out("conformance_tests", tmp_path / "run" / "conformance_tests-1", **cluster, **suite(e2e))

    assert [record.message for record in caplog.records if " specs, " in record.message] == [
        "1 of 2 specs, 0 failed: PASSED [sig-apps] one",
        "2 of 2 specs, 1 failed: FAILED [sig-apps] two",
    ]


def test_several_specs_at_once_need_ginkgo(run: Run, e2e: Path, cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts the binary, so many times."""
    missing = run("", **suite(e2e, parallel=4))
    ginkgo = cluster / "ginkgo"
    ginkgo.write_text('#!/bin/sh\necho "$@" >>$REPORT_DIR/ginkgo\nshift 3\nexec $0-e2e "$@"\n', encoding="ascii")
    ginkgo.chmod(0o755)
    (cluster / "ginkgo-e2e").symlink_to(e2e)
    result = run("", **suite(e2e, parallel=4))
    reports = Path(result["artifacts"][-1]["path"]).parent

    assert missing["reason"] == "the conformance command ginkgo is not installed here"
    assert result["status"] == "SUCCESS"
    assert (reports / "ginkgo").read_text(encoding="ascii").startswith(f"--nodes=4 {e2e} -- --kubeconfig=")
