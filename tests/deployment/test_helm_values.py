"""deploy/helm/values.yaml, as far as it can be read without Helm."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci_pipeline.sections import Limits
from ci_pipeline.stack import environment

PROJECT = Path(__file__).parents[2]
TEXT = (PROJECT / "deploy" / "helm" / "values.yaml").read_text()
VALUES: dict[str, Any] = yaml.safe_load(TEXT)
# What Airflow's chart has in the places we fill, by path, and its types. Below a * it takes whatever Kubernetes does.
CHART: dict[str, type] = {
    "airflowVersion": str,
    "images.airflow.repository": str,
    "images.airflow.tag": str,
    "executor": str,
    "uid": int,
    "gid": int,
    "airflowHome": str,
    "postgresql.enabled": bool,
    "redis.enabled": bool,
    "data.metadataSecretName": str,
    "data.resultBackendSecretName": str,
    "data.brokerUrlSecretName": str,
    "fernetKeySecretName": str,
    "apiSecretKeySecretName": str,
    "jwtSecretName": str,
    "enableBuiltInSecretEnvVars.AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": bool,
    "secret": list,
    "env": list,
    "volumes": list,
    "volumeMounts": list,
    "logs.persistence.enabled": bool,
    "logs.persistence.existingClaim": str,
    "securityContexts.pod.*": object,
    "securityContexts.containers.*": object,
    "config.*": object,
    "migrateDatabaseJob.args": list,
    "createUserJob.args": list,
    "apiServer.extraInitContainers": list,
    "apiServer.extraVolumes": list,
    "apiServer.extraVolumeMounts": list,
    "scheduler.args": list,
    "scheduler.logGroomerSidecar.enabled": bool,
    "dagProcessor.logGroomerSidecar.enabled": bool,
    "triggerer.args": list,
    "triggerer.persistence.enabled": bool,
    "triggerer.logGroomerSidecar.enabled": bool,
    "workers.celery.args": list,
    "workers.celery.persistence.enabled": bool,
    "workers.celery.keda.enabled": bool,
    "workers.celery.keda.pollingInterval": int,
    "workers.celery.keda.cooldownPeriod": int,
    "workers.celery.keda.minReplicaCount": int,
    "workers.celery.keda.maxReplicaCount": int,
    "workers.celery.hpa.enabled": bool,
    "workers.celery.hpa.minReplicaCount": int,
    "workers.celery.hpa.maxReplicaCount": int,
    "workers.celery.terminationGracePeriodSeconds": int,
    "workers.celery.logGroomerSidecar.enabled": bool,
    "workers.celery.securityContexts.container.*": object,
}


def leaves(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of everything that is no mapping."""
    for key, value in values.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            yield from leaves(value, here)
        else:
            yield here, value


@pytest.mark.parametrize(("path", "value"), list(leaves(VALUES)), ids=[path for path, _ in leaves(VALUES)])
def test_the_chart_knows_what_we_say(path: str, value: Any) -> None:
    """A key the chart does not have is an error at installation; one of another type, too."""
    allowed = next((kind for known, kind in CHART.items() if re.fullmatch(known.replace("*", ".*"), path)), None)

    assert allowed is not None
    assert isinstance(value, allowed)


def test_airflow_is_set_up_as_in_other_containers() -> None:
    """What makes the pipeline quick and patient is said once, and is the same here."""
    ours = {
        f"{section.upper()}__{key.upper()}": str(value)
        for section, options in VALUES["config"].items()
        for key, value in options.items()
    }
    different = {
        "API__BASE_URL",
        "CORE__AUTH_MANAGER",
        "CORE__EXECUTION_API_SERVER_URL",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
        "CELERY__WORKER_CONCURRENCY",
    }

    assert {key: ours[key] for key in ours.keys() - different} == environment.options(Path("/opt/ci-pipeline"))


def test_secrets_are_named_and_not_said() -> None:
    """Neither a password nor an address with one."""
    assert not re.search(r"\w+://[^/\s]+:[^/\s]+@", TEXT)
    assert not {"fernetKey", "apiSecretKey", "jwtSecret"} & set(VALUES)
    assert not [one for one in VALUES["env"] if re.search(r"PASSWORD|SECRET|BUS__URL|DATABASE", one["name"])]
    assert all(set(one) == {"envName", "secretName", "secretKey"} for one in VALUES["secret"])


def test_images_have_this_version() -> None:
    """All of them, and none is the latest."""
    version = re.search(r'^version = "(.+)"', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)

    assert version is not None
    assert VALUES["images"]["airflow"]["tag"] == version[1]
    assert VALUES["apiServer"]["extraInitContainers"][0]["image"].endswith(f"/builder:{version[1]}")


def test_what_the_probes_of_the_chart_call_is_in_the_image() -> None:
    """They call everything through /entrypoint, as Airflow's own image has it."""
    dockerfile = (PROJECT / "deploy" / "docker" / "Dockerfile").read_text()
    target = dockerfile.partition(" AS builder\n")[2]

    assert VALUES["images"]["airflow"]["repository"].endswith("/builder")
    assert "deploy/docker/entrypoint /entrypoint\n" in target


def test_a_worker_that_is_to_go_carries_its_stages_out() -> None:
    """Scaling down costs no stage its time."""
    assert VALUES["workers"]["celery"]["terminationGracePeriodSeconds"] > Limits().seconds


def test_nobody_is_root() -> None:
    """As in the images."""
    assert VALUES["securityContexts"]["pod"]["runAsUser"] == VALUES["uid"] == 10001
    assert VALUES["securityContexts"]["containers"]["capabilities"] == {"drop": ["ALL"]}
    assert VALUES["workers"]["celery"]["securityContexts"]["container"]["capabilities"] == {"drop": ["ALL"]}
