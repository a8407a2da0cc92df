"""deploy/helm/values.yaml and Kubernetes' own schemas: `make test-infra`.

Airflow's chart comes from no package registry, so whoever has it says where: CHART_OF_THE_TESTS is a file or folder as
`helm pull apache-airflow/airflow` leaves it. Without it, or without helm, it is not rendered.
"""

import copy
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

VALUES_FILE = Path(__file__).parents[2] / "deploy" / "helm" / "values.yaml"
VALUES: dict[str, Any] = yaml.safe_load(VALUES_FILE.read_text())
# The first one that admits procMount without a feature gate, and the newest there are schemas of.
VERSIONS = ("1.33", "1.37")
# What comes of KEDA's own definitions, and what statsd is.
FOREIGN = "keda.sh/"
STATSD = "quay.io/prometheus/statsd-exporter"


def handed_on() -> dict[str, Any]:
    """Return a pod of everything in our values that the chart passes to Kubernetes as it is."""
    image = "{repository}:{tag}".format(**VALUES["images"]["airflow"])
    secrets = [
        {"name": one["envName"], "valueFrom": {"secretKeyRef": {"name": one["secretName"], "key": one["secretKey"]}}}
        for one in VALUES["secret"]
    ]
    common = {"image": image, "env": [*VALUES["env"], *secrets]}
    server, worker = VALUES["apiServer"], VALUES["workers"]["celery"]
    containers = [
        {
            **common,
            "name": "worker",
            "args": worker["args"],
            "securityContext": worker["securityContexts"]["container"],
            "volumeMounts": VALUES["volumeMounts"],
        },
        {
            **common,
            "name": "api-server",
            "securityContext": VALUES["securityContexts"]["containers"],
            "volumeMounts": [*VALUES["volumeMounts"], *server["extraVolumeMounts"]],
        },
    ]
    spec = {
        "securityContext": VALUES["securityContexts"]["pod"],
        "terminationGracePeriodSeconds": worker["terminationGracePeriodSeconds"],
        "volumes": [*VALUES["volumes"], *server["extraVolumes"]],
        "initContainers": server["extraInitContainers"],
        "containers": containers,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ci-pipeline"}, "spec": spec}


@pytest.mark.parametrize(
    ("key", "wrong"),
    [("procMonut", "Unmasked"), ("allowPrivilegeEscalation", "no"), ("capabilities", ["ALL"])],
)
def test_a_mistake_is_seen(key: str, wrong: Any) -> None:
    """A key that Kubernetes does not know is one, and so is a value of another type."""
    pod = copy.deepcopy(handed_on())
    pod["spec"]["containers"][0]["securityContext"][key] = wrong

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_what_the_chart_hands_on(version: str) -> None:
    """Volumes, mounts, security contexts, the init container and the variables: every key, by the API's own schemas."""
    assert kubernetes_validate.validate(handed_on(), version, strict=True) == version


def test_every_mount_has_its_volume() -> None:
    """The API server refuses a pod otherwise; a schema does not know."""
    pod = handed_on()["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}

    used = {mount["name"] for one in (*pod["initContainers"], *pod["containers"]) for mount in one["volumeMounts"]}
    assert used == volumes


@pytest.fixture(scope="module")
def rendered() -> list[dict[str, Any]]:
    """What Helm makes of the chart and our values."""
    chart = os.environ.get("CHART_OF_THE_TESTS")
    if not chart or not shutil.which("helm"):
        pytest.skip("needs helm, and Airflow's chart in CHART_OF_THE_TESTS: deploy/helm/README.md says how")
    command = ["helm", "template", "ci-pipeline", chart, "--values", str(VALUES_FILE), "--kube-version", VERSIONS[-1]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def test_what_the_chart_renders_is_taken(rendered: list[dict[str, Any]]) -> None:
    """Helm holds our values against the chart's schema itself; what it renders is held against Kubernetes'."""
    ours = [document for document in rendered if not document["apiVersion"].startswith(FOREIGN)]

    assert {"Deployment", "Job", "Service", "ConfigMap"} <= {document["kind"] for document in ours}
    for document in ours:
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


def test_every_rendered_container_is_ours_and_confined(rendered: list[dict[str, Any]]) -> None:
    """But for the exporter of StatsD, which the chart brings along."""
    specs = [document["spec"]["template"]["spec"] for document in rendered if document["kind"] in {"Deployment", "Job"}]
    containers = [one for spec in specs for one in (*spec.get("initContainers", ()), *spec["containers"])]
    ours = [one for one in containers if not one["image"].startswith(STATSD)]

    assert {one["image"] for one in ours} == {"{repository}:{tag}".format(**VALUES["images"]["airflow"])}
    assert all(one["securityContext"]["capabilities"] == {"drop": ["ALL"]} for one in ours)
    assert not [document for document in rendered if document["kind"] == "StatefulSet"]
    assert "ci-pipeline-api-server" in {one["metadata"]["name"] for one in rendered if one["kind"] == "Service"}
