"""What the Helm values make of the images, as far as it can be seen without Kubernetes: `make test-infra`."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci_pipeline.demo import distgit, packager

from .conftest import share
from .engine import PROJECT, Stack, wait
from .pods import ARGUMENTS, VALUES, Pods
from .test_compose import TOPIC, ended

pytestmark = pytest.mark.timeout(5400)

START_SECONDS = 900


@pytest.fixture
def pushed(up: Stack, place: distgit.DistGit) -> packager.Pushed:
    """A new release of the demo's package, where the workers look for it."""
    made = packager.push_good(place, PROJECT / "demo" / "packages")
    share(up, place)
    return made


@pytest.fixture
def pods(up: Stack, pushed: packager.Pushed, tmp_path: Path) -> Iterator[Pods]:
    """The chart's pods in the place of the parts of Airflow that Compose starts."""
    made = Pods(up.name, up.environment, tmp_path)
    made.prepare()
    up.compose("stop", *ARGUMENTS)
    try:
        yield made
    finally:
        made.remove()
        up.up()


def repeated(pods: Pods, command: list[str]) -> bool:
    """Run a job as Kubernetes does: again when it fails."""
    try:
        pods.job(*command)
    except subprocess.CalledProcessError:
        return False
    return True


def test_a_change_goes_through_the_pods_of_the_chart(pushed: packager.Pushed, pods: Pods) -> None:
    """With the arguments, settings, variables and accounts of the values alone; every probe of the chart answers."""
    pods.job(*VALUES["migrateDatabaseJob"]["args"])
    pods.job("airflow", "db", "check-migrations", "--migration-wait-timeout=60")
    for name in ARGUMENTS:
        pods.start(name)
    for name in ARGUMENTS:
        wait(lambda name=name: pods.alive(name), START_SECONDS, lambda name=name: f"{name}: {pods.said(name)}")
    setting_up = VALUES["createUserJob"]["args"]
    wait(lambda: repeated(pods, setting_up), START_SECONDS, lambda: f"{setting_up} fails")
    change = {"namespace": "rpms", "repo": "greeter", "rev": pushed.rev, "branch": "f26"}
    pods.pipeline("send", "-", "--topic", TOPIC, stdin=json.dumps(change).encode())

    assert ended(pods, pushed.rev)["status"] == "SUCCESS"
