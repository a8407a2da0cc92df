"""The steps of the cluster through the real Airflow; cluster and suite are stand-ins. What is held, and until when."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from ci_pipeline import cancel, store
from ci_pipeline.settings import Settings
from ci_pipeline.stages import STEPS
from ci_pipeline.store import leases, outbox, runs
from ci_pipeline.store.tables import Image, Run
from tests.distgit import DistGit, package
from tests.e2e.conftest import Bus, clear, point_to, url_of, wait_until
from tests.e2e.test_a_change import run_of

# What is promoted here is in the way of no other test.
DAG = "ci-pipeline-rawhide"
STEP_NAMES = [stage.name for stage in STEPS["image.test.conformance"]]


class Conformance:
    """A run whose conformance tests run."""

    def __init__(self, run: Run, folder: Path) -> None:
        self.run, self.folder = run, folder

    @property
    def suite(self) -> Path:
        """The folder of the suite that runs."""
        return self.folder / "suite"

    @property
    def group(self) -> int:
        """The number of the suite's process group."""
        return int((self.suite / "pid").read_text().split()[0])

    def let_end(self) -> None:
        """Let the suite come to its end."""
        (self.folder / "go").touch()


def trigger(api: httpx.Client, distgit: DistGit) -> str:
    """Start a run by hand that wants an image and a cluster, and return its revision."""
    rev = distgit.commit("greeter", package("greeter", f"1.{int(time.time())}"), branch="rawhide")
    conf = {"repo": "greeter", "rev": rev, "generate_image": "always", "conformance": "with-image"}
    api.post(f"/api/v2/dags/{DAG}/dagRuns", json={"logical_date": None, "conf": conf}).raise_for_status()
    return rev


def start(api: httpx.Client, distgit: DistGit, pipeline: Settings, bus: Bus) -> Conformance:
    """Start such a run, and return it when its suite runs and its task is deferred."""
    rev = trigger(api, distgit)
    bus.wait_for("image.test.conformance.running", rev)
    run = run_of(rev)
    wait_until(lambda _: is_deferred(api, run), seconds=240, what="a task that is deferred")
    return Conformance(run, pipeline.state / "runs" / run.dag_id / run.run_id / "cluster")


@pytest.fixture
def tested(api: httpx.Client, distgit: DistGit, pipeline: Settings, bus: Bus) -> Iterator[Conformance]:
    """A run whose suite runs."""
    found = start(api, distgit, pipeline, bus)
    yield found
    if found.folder.exists():
        found.let_end()
    bus.wait_for("complete", found.run.rev)


@dataclass
class Passed:
    """A run whose tests have passed, and what was seen of it then."""

    conformance: Conformance
    held: bool
    said: list[tuple[str, str]]
    states: dict[str, str]
    left: list[str]


@pytest.fixture(scope="module")
def passed(api: httpx.Client, distgit: DistGit, pipeline: Settings, bus: Bus) -> Passed:
    """A run whose suite was let come to its end."""
    with pytest.MonkeyPatch.context() as patch:
        point_to(pipeline, patch)
        found = start(api, distgit, pipeline, bus)
        group, held = found.group, holds_cluster(found.run)
        found.let_end()
        bus.wait_for("complete", found.run.rev)
        wait_until(lambda _: api.get(url_of(found.run)).json()["state"] == "success", seconds=60, what="its end")
        left = {"suite": is_alive(group), "lease": holds_cluster(found.run), "folder": found.folder.exists()}
        seen = said(found.run), states(api, found.run)
    return Passed(found, held, *seen, [name for name, there in left.items() if there])


def is_deferred(api: httpx.Client, run: Run) -> bool:
    """Tell whether the tests' task waits without a worker."""
    return api.get(url_of(run, "conformance_tests")).json()["state"] == "deferred"


def states(api: httpx.Client, run: Run) -> dict[str, str]:
    """Return the states of the tasks of the cluster."""
    tasks = api.get(url_of(run) + "/taskInstances").json()["task_instances"]
    return {task["task_id"]: task["state"] for task in tasks if task["task_id"] in {*STEP_NAMES, "tear_down_cluster"}}


def holds_cluster(run: Run) -> bool:
    """Tell whether a run has a cluster."""
    with store.session() as session:
        return leases.has_cluster(session, run=run.id)


def is_alive(group: int) -> bool:
    """Tell whether a suite still runs."""
    return psutil.pid_exists(group) and psutil.Process(group).status() != psutil.STATUS_ZOMBIE


def said(run: Run) -> list[tuple[str, str]]:
    """Return what was said of the conformance tests, with its status."""
    with store.session() as session:
        rows = [row for row in outbox.messages(session, run=run.id) if "conformance" in row.event]
    return [(row.event.rpartition(".")[2], row.body["status"]) for row in rows]


def test_a_suite_holds_no_worker_and_validates_its_image(passed: Passed) -> None:
    """While it ran its task was deferred; afterwards nothing of the cluster is left."""
    run = passed.conformance.run
    with store.session() as session:
        tries = {one.stage: (one.status, len(one.tests)) for one in runs.get(session, run.run_id).results}
        validated = session.scalars(select(Image).where(Image.run_id == run.id)).one().validated_at

    assert passed.held
    assert [tries[name] for name in STEP_NAMES] == [("SKIPPED", 0), ("SUCCESS", 0), ("SUCCESS", 0), ("SUCCESS", 1)]
    assert validated
    assert passed.said == [("queued", "SUCCESS"), ("running", "SUCCESS"), ("complete", "SUCCESS")]
    assert passed.states == dict.fromkeys([*STEP_NAMES, "tear_down_cluster"], "success")
    assert passed.left == []


@pytest.fixture
def no_kubeconfig(pipeline: Settings) -> Iterator[None]:
    """Take the cluster away for a while."""
    there, away = pipeline.state / "kubeconfig", pipeline.state / "kubeconfig.away"
    there.rename(away)
    yield
    away.rename(there)


@pytest.mark.usefixtures("no_kubeconfig")
def test_a_cluster_that_cannot_be_had_is_torn_down_all_the_same(api: httpx.Client, distgit: DistGit, bus: Bus) -> None:
    """It is the infrastructure's fault; the tests are not begun, and their end is announced."""
    rev = trigger(api, distgit)
    bus.wait_for("complete", rev)
    run = run_of(rev)
    wait_until(lambda _: api.get(url_of(run)).json()["state"] == "failed", seconds=60, what="the end of the run")
    with store.session() as session:
        configured = runs.latest_results(session, run.id)["configure_cluster"]
        end = (configured.status, configured.fault, configured.reason.rpartition("/")[2])

    assert end == ("FAILURE", "infrastructure", "kubeconfig does not exist")
    assert said(run) == [("queued", "SUCCESS"), ("running", "SUCCESS"), ("complete", "FAILURE")]
    assert states(api, run) == {
        "provision_hosts": "success",
        "configure_cluster": "failed",
        "await_cluster": "upstream_failed",
        "conformance_tests": "upstream_failed",
        "tear_down_cluster": "success",
    }
    assert not holds_cluster(run)


def test_a_cancelled_run_leaves_no_suite(tested: Conformance, api: httpx.Client, pipeline: Settings) -> None:
    """Nobody works on it at that moment; its cluster is torn down all the same."""
    group = tested.group
    cancel.cancel(pipeline, tested.run.run_id)
    wait_until(lambda _: not is_alive(group), seconds=30, what="the end of the suite")
    wait_until(lambda _: not holds_cluster(tested.run), seconds=60, what="the end of the lease")

    def ended(_: Session) -> Any:
        return said(tested.run)[-1] == ("complete", "ABORTED")

    wait_until(ended, seconds=60, what="the end of the tests, announced")


def test_a_suite_that_was_killed_is_run_again(tested: Conformance, bus: Bus) -> None:
    """By the next try, without a word of it on the bus."""
    first = tested.group
    os.killpg(first, 9)

    def another(_: Session) -> bool:
        return (tested.suite / "pid").exists() and tested.group != first

    wait_until(another, seconds=120, what="another suite")
    tested.let_end()
    bus.wait_for("complete", tested.run.rev)
    with store.session() as session:
        tries = [one for one in runs.get(session, tested.run.run_id).results if one.stage == "conformance_tests"]
        ends = [(one.try_number, one.status, one.reason) for one in tries]

    assert ends == [(1, "FAILURE", "the conformance command was killed before it could end"), (2, "SUCCESS", "")]
    assert [event for event, _ in said(tested.run)] == ["queued", "running", "complete"]


def test_tests_that_are_cleared_get_a_new_cluster(passed: Passed, api: httpx.Client) -> None:
    """Airflow clears what sets it up, too; it is announced once more."""
    again = passed.conformance
    clear(api, again.run, "conformance_tests")
    wait_until(lambda _: (again.suite / "pid").exists(), seconds=120, what="another suite")
    again.let_end()
    wait_until(lambda _: said(again.run)[3:][-1:] == [("complete", "SUCCESS")], seconds=120, what="a second end")
    wait_until(lambda _: not holds_cluster(again.run), seconds=60, what="the end of the lease")

    assert [event for event, _ in said(again.run)] == ["queued", "running", "complete"] * 2
