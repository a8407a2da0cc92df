"""The steps of the cluster, as Airflow runs them."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowException, AirflowSkipException, TaskDeferred

from ci_pipeline import settings, store
from ci_pipeline.errors import ExecutorError
from ci_pipeline.executors.report import Report, infrastructure_failure
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import AWAIT_CLUSTER, CONFIGURE_CLUSTER, CONFORMANCE_TESTS
from ci_pipeline.store import leases, outbox, runs
from ci_pipeline.store.tables import Run
from operators.await_cluster import AwaitClusterOperator
from operators.configure_cluster import ConfigureClusterOperator
from operators.conformance_tests import ConformanceTestsOperator
from operators.provision_hosts import ProvisionHostsOperator
from operators.tear_down_cluster import TearDownClusterOperator
from tests.canaries import Canaries, canary
from tests.makers import new_run, play, report

pytestmark = pytest.mark.usefixtures("database")
OK = Status.SUCCESS
HOST = {"name": "host-1", "address": "127.0.0.1", "port": 2222, "user": "root", "api_port": 6443, "inside": "10.0.2.15"}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set keys of [conformance]."""

    def configure(**values: str) -> None:
        for key, value in values.items():
            monkeypatch.setenv(f"CI_PIPELINE_CONFORMANCE__{key.upper()}", value)
        settings.current.cache_clear()

    return configure


def results(run: Run) -> list[tuple[str, int, str | None, str]]:
    """Return the tries of a run's steps."""
    with store.session() as session:
        rows = runs.get(session, run.run_id).results
        return [(row.stage, row.try_number, row.status, row.reason) for row in rows[6:]]


def smoke_tested(**fields: str) -> Run:
    """Return a run whose image has booted."""
    run = new_run(**fields)
    play(settings.current(), run, *[OK] * 6)
    return run


def test_hosts_are_booted_from_the_image_with_what_is_configured(
    context: Callable[..., Any], carried_out: Callable[..., Any], cluster: Callable[..., None]
) -> None:
    """The request has the image and its checksum; what else is configured is not of this step."""
    cluster(cluster="k3s", hosts="3")
    run, operator = smoke_tested(), ProvisionHostsOperator()
    executor = carried_out(operator, Report(status=OK, outputs={"cluster_hosts": [HOST]}))
    operator.execute(context(operator, run_id=run.run_id))
    asked = executor.request

    assert (asked["cluster"], asked["hosts_wanted"], asked["internet"]) == ("k3s", 3, False)
    assert asked["image_name"].endswith(".qcow2")
    assert asked["image_sha256"] == "0" * 64
    assert asked["cluster_dir"] == str(Path(asked["workspace"]).parent / "cluster")
    assert "k3s" not in asked


@pytest.mark.parametrize("kind", ["existing", "control-plane"])
def test_a_cluster_without_hosts_of_its_own_boots_none(
    context: Callable[..., Any],
    carried_out: Callable[..., Any],
    cluster: Callable[..., None],
    kind: str,
    tmp_path: Path,
) -> None:
    """No playbook is run; the task is green, so that the next one follows."""
    cluster(cluster=kind, control_plane__programs=str(tmp_path))
    run, operator = smoke_tested(), ProvisionHostsOperator()
    executor = carried_out(operator, ExecutorError("not to be run"))
    operator.execute(context(operator, run_id=run.run_id))

    assert executor.request == {}
    assert results(run)[0][2:][0] == "SKIPPED"


def test_a_second_run_waits_for_the_cluster_of_the_first_without_a_worker(
    context: Callable[..., Any], cluster: Callable[..., None]
) -> None:
    """It says nothing before it has it."""
    cluster(cluster="k3s")
    first, second = smoke_tested(), smoke_tested(rev="1" * 40)
    with store.session() as session:
        leases.acquire(session, name="cluster f26", run=first.id)
    operator = ProvisionHostsOperator()

    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context(operator, run_id=second.run_id))

    assert deferred.value.trigger.name == "cluster f26"
    assert results(second) == []


def test_a_run_without_a_cluster_waits_for_nobody(context: Callable[..., Any], cluster: Callable[..., None]) -> None:
    """Declined is declined, whoever has the cluster."""
    cluster(cluster="k3s", when="never")
    first, second = smoke_tested(), smoke_tested(rev="1" * 40)
    with store.session() as session:
        leases.acquire(session, name="cluster f26", run=first.id)
    operator = ProvisionHostsOperator()

    with pytest.raises(AirflowSkipException, match="no conformance tests wanted"):
        operator.execute(context(operator, run_id=second.run_id))


def test_one_cluster_that_is_there_is_shared_by_all_branches(cluster: Callable[..., None]) -> None:
    """Two suites on it would disturb each other. Installed ones are a branch's own."""
    operator, run, other = ProvisionHostsOperator(), new_run(), new_run(branch="rawhide")
    cluster(cluster="existing")
    shared = operator.lease_of(run), ProvisionHostsOperator().lease_of(other)
    cluster(cluster="k3s")

    assert shared[0] == shared[1]
    assert ProvisionHostsOperator().lease_of(run) != ProvisionHostsOperator().lease_of(other)


@pytest.mark.parametrize(
    ("operator", "stage", "before"),
    [(AwaitClusterOperator, AWAIT_CLUSTER, 8), (ConformanceTestsOperator, CONFORMANCE_TESTS, 9)],
)
def test_a_step_that_goes_on_is_looked_at_again_without_a_worker(
    context: Callable[..., Any],
    carried_out: Callable[..., Any],
    cluster: Callable[..., None],
    operator: type[Any],
    stage: Any,
    before: int,
) -> None:
    """It is the same try, in the same folder, and its end is written down when there is one."""
    cluster(cluster="existing")
    run, task = new_run(), operator()
    play(settings.current(), run, *[OK] * before)
    executor, of_run = carried_out(task, Report(status=OK, again_in=15)), context(task, run_id=run.run_id)

    with pytest.raises(TaskDeferred) as deferred:
        task.execute(of_run)

    workspace, trigger = executor.request["workspace"], deferred.value.trigger

    assert (trigger.seconds, deferred.value.method_name) == (15, "execute")
    assert results(run)[-1] == (stage.name, 1, None, "")

    executor.outcome = report(stage)
    task.execute(of_run, event={})

    assert executor.request["workspace"] == workspace
    assert results(run)[-1] == (stage.name, 1, "SUCCESS", "")


def test_the_steps_before_the_last_say_nothing_of_their_own(
    context: Callable[..., Any], carried_out: Callable[..., Any], cluster: Callable[..., None]
) -> None:
    """To the world the tests run."""
    cluster(cluster="k3s")
    run, hosts, configure = smoke_tested(), ProvisionHostsOperator(), ConfigureClusterOperator()
    carried_out(hosts, Report(status=OK, outputs={"cluster_hosts": [HOST]}))
    hosts.execute(context(hosts, run_id=run.run_id))
    executor = carried_out(configure, report(CONFIGURE_CLUSTER))
    configure.execute(context(configure, run_id=run.run_id))
    with store.session() as session:
        said = [row.event for row in outbox.messages(session, run=run.id)]

    assert said[-2:] == ["image.test.conformance.queued", "image.test.conformance.running"]
    assert executor.request["cluster_hosts"] == [HOST]
    assert executor.request["k3s"] == {"program": "", "sha256": "", "arguments": []}


def test_the_request_has_the_quarantine_of_the_branch(
    context: Callable[..., Any], carried_out: Callable[..., Any], cluster: Callable[..., None], monkeypatch: Any
) -> None:
    """And which of it is over. Steps that test nothing need none."""
    today = datetime.now(UTC).date()
    rules = [
        {"test": "a", "tracker": "https://b/1", "until": today.isoformat(), "branches": ["f26"]},
        {"test": "b", "tracker": "https://b/2", "until": (today - timedelta(days=1)).isoformat()},
        {"test": "c", "tracker": "https://b/3", "until": today.isoformat(), "branches": ["rawhide"]},
    ]
    monkeypatch.setenv("CI_PIPELINE_QUARANTINE", json.dumps(rules))
    cluster(cluster="existing")
    run = new_run()
    play(settings.current(), run, *[OK] * 8)
    asked = []
    for operator, stage in ((AwaitClusterOperator(), AWAIT_CLUSTER), (ConformanceTestsOperator(), CONFORMANCE_TESTS)):
        executor = carried_out(operator, report(stage))
        operator.execute(context(operator, run_id=run.run_id))
        asked.append(executor.request.get("quarantine"))

    assert asked[0] is None
    assert [(rule["test"], rule["expired"]) for rule in asked[1]] == [("a", False), ("b", True)]
    assert asked[1][0]["tracker"] == "https://b/1"


@pytest.fixture
def torn_down(context: Callable[..., Any], carried_out: Callable[..., Any]) -> Callable[..., Any]:
    """Tear the cluster of a run down with this outcome; the run holds its lease before."""

    def tear_down(run: Run, outcome: Report | Exception) -> None:
        operator = TearDownClusterOperator()
        with store.session() as session:
            leases.acquire(session, name="cluster f26", run=run.id)
        carried_out(operator, outcome)
        operator.execute(context(operator, run_id=run.run_id))

    return tear_down


def holds(run: Run) -> bool:
    """Tell whether a run holds a cluster."""
    with store.session() as session:
        return leases.has_cluster(session, run=run.id)


@pytest.mark.parametrize("outcome", [ExecutorError("the builder is away"), infrastructure_failure("cannot be ended")])
def test_a_cluster_that_cannot_be_ended_is_kept_and_tried_again(torn_down: Callable[..., Any], outcome: Any) -> None:
    """No other run gets it meanwhile."""
    run = new_run()

    with pytest.raises(AirflowException, match=r"the builder is away|cannot be ended"):
        torn_down(run, outcome)

    assert holds(run)


def test_a_cluster_that_is_gone_is_anothers_turn(torn_down: Callable[..., Any]) -> None:
    """The lease is given back when nothing runs any more."""
    run = new_run()
    torn_down(run, Report(status=OK, outputs={"ended": 2}))

    assert not holds(run)


def test_there_is_nothing_to_tear_down_of_a_run_without_a_change(context: Callable[..., Any]) -> None:
    """Its conf was refused."""
    operator = TearDownClusterOperator()

    with pytest.raises(AirflowSkipException, match="it has no cluster"):
        operator.execute(context(operator))


@pytest.fixture
def on_a_cluster(
    context: Callable[..., Any],
    carried_out: Callable[..., Any],
    cluster: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """Configure an existing cluster with the kubeconfig of an Airflow connection; return run and executor."""
    cluster(cluster="existing", connection="the_cluster")

    def carry(extra: dict[str, Any] | None, look: Callable[[Path], None] = lambda _: None) -> Any:
        if extra is not None:
            described = json.dumps({"conn_type": "kubernetes", "extra": extra})
            monkeypatch.setenv("AIRFLOW_CONN_THE_CLUSTER", described)
        run = smoke_tested()
        hosts, operator = ProvisionHostsOperator(), ConfigureClusterOperator()
        hosts.execute(context(hosts, run_id=run.run_id))
        executor = carried_out(operator, report(CONFIGURE_CLUSTER))
        executor.look = lambda request: look(Path(request["kubeconfig"]))
        operator.execute(context(operator, run_id=run.run_id))
        return executor

    return carry


@pytest.mark.parametrize("kubeconfig", ["apiVersion: v1\n", {"apiVersion": "v1"}])
def test_a_kubeconfig_comes_from_a_connection(on_a_cluster: Callable[..., Any], kubeconfig: object) -> None:
    """It is there for our account alone while the playbook runs, and gone afterwards."""
    seen = []
    executor = on_a_cluster(
        {"kube_config": kubeconfig},
        lambda path: seen.append((path.stat().st_mode & 0o777, yaml.safe_load(path.read_text()))),
    )

    assert seen == [(0o600, {"apiVersion": "v1"})]
    assert not Path(executor.request["kubeconfig"]).exists()


def test_a_kubeconfig_of_a_connection_is_nowhere_afterwards(
    on_a_cluster: Callable[..., Any], current: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the request and the workspace, nor in the database, nor in a log; it was in the file."""
    planted = Canaries({"token": canary("token")})
    seen = []
    with caplog.at_level(logging.DEBUG):
        executor = on_a_cluster(
            {"kube_config": {"users": [{"user": {"token": planted.planted["token"]}}]}},
            lambda path: seen.append(planted.in_tree(path.parent)),
        )

    assert seen == [{"kubeconfig": {"token"}}]
    assert planted.in_json(executor.request) == set()
    assert planted.in_tree(Path(executor.request["workspace"])) == {}
    assert planted.in_database(current.database.url.get_secret_value()) == {}
    assert planted.in_text(caplog.text) == set()


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (None, "there is no Airflow connection the_cluster (conformance.connection)"),
        ({"in_cluster": True}, "the Airflow connection the_cluster has no kubeconfig: its extra needs kube_config"),
    ],
)
def test_a_connection_without_a_kubeconfig_is_the_infrastructures_fault(
    on_a_cluster: Callable[..., Any], extra: dict[str, Any] | None, reason: str
) -> None:
    """The reason names it; it is tried again."""
    with pytest.raises(AirflowException, match="the_cluster"):
        on_a_cluster(extra)
    with store.session() as session:
        run = runs.get(session, "f26/1")

    assert results(run)[-1] == ("configure_cluster", 1, "FAILURE", reason)
