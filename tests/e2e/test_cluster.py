"""The steps of the cluster through the real Airflow; cluster and suite are stand-ins. What is held, and until when."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import select

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
    """A run whose conformance tests run, and how much had been said of them before."""

    def __init__(self, run: Run, folder: Path) -> None:
        self.run, self.folder = run, folder
        self.before = len(said(run))

    @property
    def suite(self) -> Path:
        """The folder of the suite that runs."""
        return self.folder / "suite"

    @property
    def has_suite(self) -> bool:
        """Whether a suite has begun."""
        return (self.suite / "pid").exists()

    @property
    def group(self) -> int:
        """The number of the suite's process group."""
        return int((self.suite / "pid").read_text().split()[0])

    @property
    def said(self) -> list[tuple[str, str]]:
        """What has been said of these tests."""
        return said(self.run)[self.before :]

    def let_end(self) -> None:
        """Let the suite come to its end."""
        (self.folder / "go").touch()


# They share a run that goes all the way through, twice at its end: one worker makes it.
pytestmark = pytest.mark.xdist_group("cluster")


@dataclass
class Passed:
    """A run whose tests have passed, and what was seen of it then."""

    run: Run
    folder: Path
    held: bool
    said: list[tuple[str, str]]
    states: dict[str, str]
    left: list[str]
    # Seen then: a try that ends worse withdraws the image.
    validated: bool


@pytest.fixture(scope="module")
def passed(api: httpx.Client, distgit: DistGit, pipeline: Settings, bus: Bus) -> Passed:
    """A run by hand that wanted an image and a cluster. Its first suite was killed, the second let come to its end.

    The kill is here since Airflow waits longer before each further try, those after a clear included.
    """
    with pytest.MonkeyPatch.context() as patch:
        point_to(pipeline, patch)
        # Of a package that nobody else promotes on this branch: an older one than what is there fails its compose.
        rev = distgit.commit("hostinfo", package("hostinfo", "1.0"), branch="rawhide")
        conf = {"repo": "hostinfo", "rev": rev, "generate_image": "always", "conformance": "with-image"}
        api.post(f"/api/v2/dags/{DAG}/dagRuns", json={"logical_date": None, "conf": conf}).raise_for_status()
        bus.wait_for("image.test.conformance.running", rev)
        run = run_of(rev)
        tests = Conformance(run, pipeline.state / "runs" / run.dag_id / run.run_id / "cluster")
        wait_until(lambda _: is_deferred(api, run), seconds=240, what="a task that is deferred")
        killed = tests.group
        os.killpg(killed, signal.SIGKILL)
        wait_until(lambda _: tests.has_suite and tests.group != killed, seconds=240, what="another suite")
        group, held = tests.group, holds_cluster(run)
        tests.let_end()
        bus.wait_for("complete", rev)
        wait_until(lambda _: state(api, run) == "success", seconds=60, what="the end of the run")
        left = {"suite": is_alive(group), "lease": holds_cluster(run), "folder": tests.folder.exists()}
        seen = said(run), states(api, run), [name for name, there in left.items() if there]
    return Passed(run, tests.folder, held, *seen, is_validated(run))


@pytest.fixture
def cleared(passed: Passed, api: httpx.Client) -> Iterator[Conformance]:
    """The run once more, its tests cleared a moment ago."""
    found = Conformance(passed.run, passed.folder)
    clear(api, passed.run, "conformance_tests")
    yield found
    if found.folder.exists():
        found.let_end()
    wait_until(lambda _: state(api, passed.run) in {"success", "failed"}, seconds=240, what="the end of the run")
    wait_until(lambda _: not holds_cluster(passed.run), seconds=60, what="the end of the lease")


@pytest.fixture
def tested(cleared: Conformance, api: httpx.Client) -> Conformance:
    """The run once more, at the point where its suite runs and its task is deferred."""
    wait_until(lambda _: is_deferred(api, cleared.run), seconds=240, what="a task that is deferred")
    return cleared


def state(api: httpx.Client, run: Run) -> str:
    """Return the state of a run in Airflow."""
    return str(api.get(url_of(run)).json()["state"])


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


def is_validated(run: Run) -> bool:
    """Tell whether the image a run has made is validated."""
    with store.session() as session:
        return session.scalars(select(Image).where(Image.run_id == run.id)).one().validated_at is not None


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
    assert passed.held
    assert passed.validated
    assert passed.states == dict.fromkeys([*STEP_NAMES, "tear_down_cluster"], "success")
    assert passed.left == []


def test_a_suite_that_was_killed_is_run_again(passed: Passed) -> None:
    """By the next try, without a word of it on the bus."""
    with store.session() as session:
        tries = runs.get(session, passed.run.run_id).results
        ends = [(one.stage, one.status, one.reason, len(one.tests)) for one in tries if one.stage in STEP_NAMES][:5]

    assert [end[:2] for end in ends[:3]] == [
        ("provision_hosts", "SKIPPED"),
        ("configure_cluster", "SUCCESS"),
        ("await_cluster", "SUCCESS"),
    ]
    assert ends[3:] == [
        ("conformance_tests", "FAILURE", "the conformance command was killed before it could end", 0),
        ("conformance_tests", "SUCCESS", "", 1),
    ]
    assert passed.said == [("queued", "SUCCESS"), ("running", "SUCCESS"), ("complete", "SUCCESS")]


def test_tests_that_are_cleared_get_a_new_cluster(tested: Conformance, api: httpx.Client) -> None:
    """Airflow clears what sets it up, too; it is announced once more."""
    tested.let_end()
    wait_until(lambda _: state(api, tested.run) == "success", seconds=120, what="the end of the run")

    assert tested.said == [("queued", "SUCCESS"), ("running", "SUCCESS"), ("complete", "SUCCESS")]
    assert not holds_cluster(tested.run)


@pytest.fixture
def no_kubeconfig(pipeline: Settings) -> Iterator[None]:
    """Take the cluster away for a while."""
    there, away = pipeline.state / "kubeconfig", pipeline.state / "kubeconfig.away"
    there.rename(away)
    yield
    away.rename(there)


def test_a_cluster_that_cannot_be_had_is_torn_down_all_the_same(
    no_kubeconfig: None, cleared: Conformance, api: httpx.Client
) -> None:
    """It is the infrastructure's fault; the tests are not begun, and their end is announced."""
    run = cleared.run
    wait_until(lambda _: state(api, run) == "failed", seconds=120, what="the end of the run")
    with store.session() as session:
        configured = runs.latest_results(session, run.id)["configure_cluster"]
        end = (configured.status, configured.fault, configured.reason.rpartition("/")[2])

    assert end == ("FAILURE", "infrastructure", "kubeconfig does not exist")
    assert cleared.said == [("queued", "SUCCESS"), ("running", "SUCCESS"), ("complete", "FAILURE")]
    assert states(api, run) == {
        "provision_hosts": "success",
        "configure_cluster": "failed",
        "await_cluster": "upstream_failed",
        "conformance_tests": "upstream_failed",
        "tear_down_cluster": "success",
    }
    assert not holds_cluster(run)


def test_a_cancelled_run_leaves_no_suite(tested: Conformance, pipeline: Settings) -> None:
    """Nobody works on it at that moment; its cluster is torn down all the same."""
    group = tested.group
    cancel.cancel(pipeline, tested.run.run_id)
    wait_until(lambda _: not is_alive(group), seconds=30, what="the end of the suite")
    wait_until(lambda _: not holds_cluster(tested.run), seconds=60, what="the end of the lease")
    wait_until(lambda _: tested.said[-1:] == [("complete", "ABORTED")], seconds=60, what="the end, announced")
