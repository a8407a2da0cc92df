"""The steps of the cluster on a real Kubernetes API server, with Kubernetes' own e2e tests: `make test-conformance`."""

import logging
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ansible.module_utils.ci_cluster import Cluster

from ci_pipeline.executors.report import Report
from ci_pipeline.outcome import Fault, Status
from tests.playbooks.stage_runs import LIMITS, PLAYBOOKS, CarryOut

# Specs that need the API alone: nothing runs in this cluster.
FOCUS = (
    r"(Lease|Discovery|Events API|API operations|PodTemplates|Table|server version|fail to create|able to (re)?start"
    r"|patch a|a ConfigMap lifecycle|lifecycle of an? [ES]|promptly).*\[Conformance\]"
)
ARGUMENTS = ["--allowed-not-ready-nodes=0", "--minStartupPods=0", "--node-schedulable-timeout=20s"]
Step = Callable[..., Report]


@pytest.fixture(scope="module")
def programs() -> Path:
    """Where scripts/kubernetes has left what it built."""
    return Path(os.environ["KUBERNETES_OF_THE_TESTS"])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Path]:
    """The folder of the cluster; what is left in it is ended."""
    folder = tmp_path / "run" / "cluster"
    yield folder
    Cluster(folder).end()


@pytest.fixture
def step(carry_out: CarryOut, programs: Path, cluster: Path, tmp_path: Path) -> Step:
    """Carry out a step of the cluster until it has ended, as the operator does."""
    request = {
        "cluster_dir": str(cluster),
        "cluster": "control-plane",
        "control_plane": {"programs": str(programs)},
        "image_dir": "/images",
        "image_name": "host.qcow2",
        "ready_seconds": 60,
        "look_seconds": 1,
        "suite": "e2e",
        "program": "",
        "focus": FOCUS,
        "skip": "",
        "parallel": 1,
        "arguments": ARGUMENTS,
    }

    def carry(stage: str, *, seconds: int = 240, **more: Any) -> Report:
        limits = LIMITS | {"seconds": seconds, "boot_seconds": 120}
        workspace = tmp_path / "run" / f"{stage}-1"
        while (report := carry_out(stage, workspace, limits=limits, **(request | more))).again_in:
            pass
        return report

    return carry


@pytest.fixture
def stage(step: Step, request: pytest.FixtureRequest) -> Step:
    """Test a cluster that is up; a parameter takes something away from its API server."""
    taken_away = list(getattr(request, "param", ()))
    configured = step("configure_cluster", cluster_control_plane_taken_away=taken_away)

    assert configured.status is Status.SUCCESS, configured.reason
    assert configured.outputs["cluster_versions"]["kubernetes"].startswith("v1.20.")
    return lambda **more: step("conformance_tests", **more)


def kubectl(cluster: Path, *words: str) -> str:
    """Ask the cluster, as its administrator."""
    command = [f"{os.environ['KUBERNETES_OF_THE_TESTS']}/kubectl", f"--kubeconfig={cluster}/kubeconfig", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def server(cluster: Path, name: str) -> int:
    """Return the number of a server's process group."""
    return int((cluster / name / "pid").read_text(encoding="ascii").split()[0])


def is_running(pid: int) -> bool:
    """Tell whether a process does anything yet."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_real_specs_pass(step: Step, stage: Step, cluster: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each is a test of its own; the thousands that were not asked for are counted. The log says how far it is."""
    caplog.set_level(logging.INFO)
    ready, report = step("await_cluster"), stage()
    said = [record.message for record in caplog.records if re.match(r"\d+ of \d+ specs, ", record.message)]

    assert ready.outputs["cluster_version"].startswith("v1.20.")
    assert (report.status, report.reason) == (Status.SUCCESS, "")
    assert report.outputs["total"] == len(report.tests) >= 17
    assert report.outputs["failed"] == 0
    assert report.outputs["skipped"] > 5000
    assert {test.outcome for test in report.tests} == {"passed"}
    assert "[k8s.io] Lease lease API should be available [Conformance]" in {test.name for test in report.tests}
    assert said[-1].startswith(f"{report.outputs['total']} of {report.outputs['total']} specs, 0 failed: ")
    assert "placeholder" in next(Path(one.path) for one in report.artifacts if one.name == "cluster.log").read_text()

    groups = [server(cluster, name) for name in ("etcd", "kube-apiserver", "kube-controller-manager")]
    torn_down = step("tear_down_cluster")

    assert torn_down.status is Status.SUCCESS
    assert not cluster.exists()
    assert not (PLAYBOOKS / ".kube").exists()
    assert not [group for group in groups if is_running(group)]


@pytest.mark.parametrize("stage", [["--runtime-config=coordination.k8s.io/v1=false"]], indirect=True)
def test_a_spec_that_fails_is_named(stage: Step) -> None:
    """A server without one of its APIs: the specs of that API fail, all others pass, and that is no fault of ours."""
    report = stage()
    failed = [test for test in report.tests if test.outcome == "failed"]

    assert (report.status, report.fault) == (Status.UNSTABLE, Fault.NONE)
    assert [test.name for test in failed] == ["[k8s.io] Lease lease API should be available [Conformance]"]
    assert f"1 of {report.outputs['total']} conformance tests failed: [k8s.io] Lease" in report.reason
    assert "creating Lease failed" in failed[0].message


def test_a_server_that_cannot_start_is_the_infrastructures_fault(step: Step, cluster: Path) -> None:
    """Its last words are the reason, and the others are ended."""
    report = step("configure_cluster", cluster_control_plane_taken_away=["--no-such-flag"])

    assert (report.status, report.fault) == (Status.FAILURE, Fault.INFRASTRUCTURE)
    assert report.reason.startswith("kube-apiserver ended: ")
    assert "unknown flag: --no-such-flag" in report.reason
    assert not is_running(server(cluster, "etcd"))


def test_a_cluster_without_a_ready_node_is_not_tested(step: Step, stage: Step, cluster: Path) -> None:
    """What is missing is named."""
    kubectl(cluster, "delete", "node", "placeholder")
    report = step("await_cluster", ready_seconds=2)

    assert (report.status, report.fault) == (Status.FAILURE, Fault.INFRASTRUCTURE)
    assert report.reason == "the cluster is not ready after 2 s: there is no node"


def test_a_suite_that_cannot_begin_is_the_infrastructures_fault(stage: Step, cluster: Path) -> None:
    """It is let loose on a cluster that is not ready, and fails before its first spec."""
    kubectl(cluster, "delete", "node", "placeholder")
    report = stage(ready_seconds=0, arguments=[*ARGUMENTS[:2], "--node-schedulable-timeout=3s"])

    assert (report.status, report.fault) == (Status.FAILURE, Fault.INFRASTRUCTURE)
    assert "it failed outside of its tests" in report.reason


def test_an_api_server_that_dies_is_the_infrastructures_fault(stage: Step, cluster: Path) -> None:
    """Every spec that is left fails with it; none of them says anything of the host."""
    command = f"kill -9 -{server(cluster, 'kube-apiserver')}"
    junit = '<testsuite failures="1"><testcase name="a"><failure>refused</failure></testcase></testsuite>'
    script = f"{command}; echo '{junit}' >$REPORT_DIR/junit.xml; exit 1"
    report = stage(suite="command", command=["/bin/sh", "-c", script], ready_seconds=5)

    assert (report.status, report.fault) == (Status.FAILURE, Fault.INFRASTRUCTURE)
    assert "the cluster is not ready after 5 s: the API server is not ready" in report.reason
    assert [test.outcome for test in report.tests] == ["failed"]


def test_a_suite_over_its_time_is_aborted(stage: Step) -> None:
    """It is stopped, with all it started."""
    report = stage(seconds=4, focus=r"promptly.*\[Conformance\]")

    assert report.status is Status.ABORTED
    assert "it used up its limit of 4 s" in report.reason
