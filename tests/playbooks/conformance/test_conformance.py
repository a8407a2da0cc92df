"""The conformance stage on a real Kubernetes API server, with Kubernetes' own e2e tests: `make test-conformance`."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ci_pipeline.executors.report import Report
from ci_pipeline.outcome import Fault, Status
from tests.playbooks.conformance.kubernetes import Kubernetes
from tests.playbooks.stage_runs import LIMITS, CarryOut

# Specs that need the API alone: nothing runs in this cluster.
FOCUS = (
    r"(Lease|Discovery|Events API|API operations|PodTemplates|Table|server version|fail to create|able to (re)?start"
    r"|patch a|a ConfigMap lifecycle|lifecycle of an? [ES]|promptly).*\[Conformance\]"
)
ARGUMENTS = ["--allowed-not-ready-nodes=0", "--minStartupPods=0", "--node-schedulable-timeout=20s"]
Stage = Callable[..., Report]


@pytest.fixture(scope="module")
def binaries() -> Path:
    """Where scripts/kubernetes has left what it built."""
    return Path(os.environ["KUBERNETES_OF_THE_TESTS"])


@pytest.fixture
def kubernetes(binaries: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Kubernetes]:
    """A cluster of the test's own; a parameter takes something away from its API server."""
    folder = tmp_path / "kubernetes"
    folder.mkdir()
    with Kubernetes(binaries, folder, tuple(getattr(request, "param", ()))).running() as cluster:
        yield cluster


@pytest.fixture
def stage(
    carry_out: CarryOut, binaries: Path, kubernetes: Kubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Stage:
    """Have the stage carried out on the cluster, as the operator does."""
    monkeypatch.setenv("PATH", f"{binaries}:{os.environ['PATH']}")
    cluster = {"cluster": "existing", "kubeconfig": str(kubernetes.kubeconfig), "ready_seconds": 60}
    suite = {"suite": "e2e", "program": "", "focus": FOCUS, "skip": "", "parallel": 1, "arguments": ARGUMENTS}

    def carry(*, seconds: int = 240, **more: Any) -> Report:
        workspace = tmp_path / "run" / "conformance_tests-1"
        limits = LIMITS | {"seconds": seconds}
        return carry_out("conformance_tests", workspace, limits=limits, **(cluster | suite | more))

    return carry


def test_real_specs_pass(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Each is a test of its own; the thousands that were not asked for are counted. The log says how far it is."""
    caplog.set_level(logging.INFO)
    report = stage()
    said = [record.message for record in caplog.records if re.match(r"\d+ of \d+ specs, ", record.message)]

    assert (report.status, report.reason) == (Status.SUCCESS, "")
    assert report.outputs["total"] == len(report.tests) >= 17
    assert report.outputs["failed"] == 0
    assert report.outputs["skipped"] > 5000
    assert report.outputs["cluster_version"].startswith("v1.20.")
    assert {test.outcome for test in report.tests} == {"passed"}
    assert "[k8s.io] Lease lease API should be available [Conformance]" in {test.name for test in report.tests}
    assert said[-1].startswith(f"{report.outputs['total']} of {report.outputs['total']} specs, 0 failed: ")


@pytest.mark.parametrize("kubernetes", [["--runtime-config=coordination.k8s.io/v1=false"]], indirect=True)
def test_a_spec_that_fails_is_named(stage: Stage) -> None:
    """A server without one of its APIs: the specs of that API fail, all others pass, and that is no fault of ours."""
    report = stage()
    failed = [test for test in report.tests if test.outcome == "failed"]

    assert (report.status, report.fault) == (Status.UNSTABLE, Fault.NONE)
    assert [test.name for test in failed] == ["[k8s.io] Lease lease API should be available [Conformance]"]
    assert f"1 of {report.outputs['total']} conformance tests failed: [k8s.io] Lease" in report.reason
    assert "creating Lease failed" in failed[0].message


def test_a_cluster_without_a_ready_node_is_not_tested(stage: Stage, kubernetes: Kubernetes) -> None:
    """What is missing is named."""
    with kubernetes.api() as api:
        api.delete("/api/v1/nodes/placeholder").raise_for_status()
    report = stage(ready_seconds=2)

    assert (report.status, report.fault) == (Status.FAILURE, Fault.INFRASTRUCTURE)
    assert report.reason == "the cluster is not ready after 2 s: there is no node"


def test_a_suite_that_cannot_begin_is_the_infrastructures_fault(stage: Stage, kubernetes: Kubernetes) -> None:
    """It is let loose on a cluster that is not ready, and fails before its first spec."""
    with kubernetes.api() as api:
        api.delete("/api/v1/nodes/placeholder").raise_for_status()
    report = stage(ready_seconds=0, arguments=[*ARGUMENTS[:2], "--node-schedulable-timeout=3s"])

    assert (report.status, report.fault) == (Status.FAILURE, Fault.INFRASTRUCTURE)
    assert "it failed outside of its tests" in report.reason


def test_an_api_server_that_dies_is_the_infrastructures_fault(stage: Stage, kubernetes: Kubernetes) -> None:
    """Every spec that is left fails with it; none of them says anything of the host."""
    command = f"kill -9 {kubernetes.processes['kube-apiserver'].pid}"
    junit = '<testsuite failures="1"><testcase name="a"><failure>refused</failure></testcase></testsuite>'
    script = f"{command}; echo '{junit}' >$REPORT_DIR/junit.xml; exit 1"
    report = stage(suite="command", command=["/bin/sh", "-c", script], ready_seconds=5)

    assert (report.status, report.fault) == (Status.FAILURE, Fault.INFRASTRUCTURE)
    assert "the cluster is not ready after 5 s: the API server is not ready" in report.reason
    assert [test.outcome for test in report.tests] == ["failed"]


def test_a_suite_over_its_time_is_aborted(stage: Stage, kubernetes: Kubernetes) -> None:
    """It is stopped, with all it started."""
    report = stage(seconds=4, focus=r"promptly.*\[Conformance\]")

    assert report.status is Status.ABORTED
    assert "it used up its limit of 4 s" in report.reason
