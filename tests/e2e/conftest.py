"""The whole pipeline on real servers and tools: a stack of the tests' own, a dist-git, and an independent listener."""

import contextlib
import json
import logging
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pika
import pytest

from ci_pipeline import settings, store
from ci_pipeline.cli.bring_up import bring_up
from ci_pipeline.errors import DatabaseUnreachable
from ci_pipeline.stack import down
from ci_pipeline.store.tables import Run
from tests.canaries import Canaries
from tests.distgit import DistGit, package
from tests.e2e import planting
from tests.e2e.diagnosis import diagnose
from tests.e2e.receiver import Receiver
from tests.e2e.watching import Watch

# A broker that is killed on purpose is no news.
logging.getLogger("pika").setLevel(logging.CRITICAL)

RECEIVE = "org.fedoraproject.prod.git.receive"
EVENTS = "#.ci.#"
LISTENER = "an-independent-listener"
# A run that has not ended by then never will.
RUN_SECONDS = 420
# What the limits of waiting are multiplied by: they are for what hangs, and a busy machine takes several times as long
# as the one they were found on.
PATIENCE = 3
PAST = "2026-03-04T05:06:07+00:00"
# A stand-in: no cluster is behind the kubeconfig, and the suite waits until a test lets it end. Only for runs that ask.
CLUSTER = '''
[conformance]
when = "never"
cluster = "existing"
ready_seconds = 0
look_seconds = 1
command = ["/bin/sh", "-c", """
until test -e ../go; do sleep 0.2; done
cat >$REPORT_DIR/junit.xml <<END
<testsuite><testcase name="pods start"/><testcase name="node reboots"><skipped/></testcase></testsuite>
END
"""]

'''
# Whoever hears of results beside the bus: `receiver.py` is the sink.
DOWNSTREAM = """
[contracts]
fedora_ci = true

[[sinks]]
name = "receiver"
kind = "http"
url = "URL"
secret_env = "RECEIVER_KEY"

# The test asks for it: a pass costs the machine a process of Airflow's, for tests that have nothing to do with it.
[delivery]
interval_seconds = 3600

[[policies]]
id = "may-go-on"
product_versions = ["fedora-26"]
decision_contexts = ["promote"]
tests = ["package", "package.test.functional", "compose.test.integration"]
"""
# What is killed in these tests every time it is tried is tried once more only.
QUICKER = "\n[stages.build_package]\nretries = 1\n\n[stages.configure_cluster]\nretries = 0\n"
# All that is pushed here is pushed by one account, and is no mass rebuild but for that of its own test.
NO_STORM = '\n[storm]\nchanges = 10000\nalways = ["releng"]\nat_once = 1\n'


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell who was killed, and when."""
    reports = [one for found in terminalreporter.stats.values() for one in found if hasattr(one, "user_properties")]
    told = [value for report in reports for name, value in report.user_properties if name == "chaos"]
    if told:
        terminalreporter.section("chaos")
        terminalreporter.write_line(told[-1])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a test as long as several whole changes take on a busy machine, unless it says itself how long."""
    ours = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    for item in ours:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(1800))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Tell of a failed test how the pipeline was: it is gone when somebody reads of it."""
    report = yield
    pipeline = getattr(item, "funcargs", {}).get("pipeline")
    if report.failed and pipeline is not None:
        report.sections.append(("The pipeline", diagnose(pipeline)))
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat the chaos as often as was asked for."""
    if "chaos_round" in metafunc.fixturenames:
        metafunc.parametrize("chaos_round", range(1, metafunc.config.getoption("--chaos-rounds") + 1))


class Bus:
    """A client of the bus that knows nothing of the pipeline's code: it publishes, and keeps all that is announced.

    Its queue is durable and it connects again, for some tests kill the broker. A message may come twice then; by the
    header that names it, a repetition is known and dropped, as any receiver should.
    """

    def __init__(self, url: str) -> None:
        self._parameters = pika.URLParameters(url)
        self._arrived = threading.Condition()
        self._messages: list[dict[str, Any]] = []
        self._ids: set[str] = set()
        self._closing = threading.Event()
        with contextlib.closing(pika.BlockingConnection(self._parameters)) as connection:
            channel = connection.channel()
            channel.queue_declare(LISTENER, durable=True)
            channel.queue_bind(LISTENER, "amq.topic", EVENTS)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        while not self._closing.is_set():
            with (
                contextlib.suppress(pika.exceptions.AMQPError),
                contextlib.closing(pika.BlockingConnection(self._parameters)) as connection,
            ):
                channel = connection.channel()
                for method, properties, body in channel.consume(LISTENER, inactivity_timeout=0.5):
                    if method is not None:
                        self._keep(method.routing_key, properties.headers, body)
                        channel.basic_ack(method.delivery_tag)
                    elif self._closing.is_set():
                        break

    def _keep(self, topic: str, headers: dict[str, Any], body: bytes) -> None:
        told = {"id": headers["ci_pipeline_id"], "kind": headers.get("ci_pipeline_kind")}
        with self._arrived:
            if told["id"] not in self._ids:
                self._ids.add(told["id"])
                self._messages.append({"topic": topic, **told, "body": json.loads(body)})
                self._arrived.notify_all()

    def publish(self, topic: str, body: bytes) -> None:
        """Publish a message as dist-git's hook does: one that the broker has taken survives its end."""
        with contextlib.closing(pika.BlockingConnection(self._parameters)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            kept = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
            channel.basic_publish("amq.topic", topic, body, kept, mandatory=True)

    def of(self, rev: str) -> list[dict[str, Any]]:
        """Return what was announced about a revision so far."""
        with self._arrived:
            return [message for message in self._messages if message["body"].get("rev") == rev]

    def all(self) -> list[dict[str, Any]]:
        """Return what was announced so far, in every contract."""
        with self._arrived:
            return list(self._messages)

    def wait_for(self, event: str, rev: str, *, seconds: float = RUN_SECONDS) -> list[dict[str, Any]]:
        """Return what was announced about a revision, once an event is among it."""
        topic = f"org.centos.prod.ci.pipeline.{event}"
        with self._arrived:
            found = self._arrived.wait_for(
                lambda: any(m["topic"] == topic and m["body"].get("rev") == rev for m in self._messages),
                timeout=seconds * PATIENCE,
            )
        heard = [message["topic"] for message in self.of(rev)]

        assert found, f"no {event} of {rev} in {seconds * PATIENCE} s; heard {heard}"

        return self.of(rev)

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        self._listener.join(timeout=10)


@pytest.fixture(scope="session")
def distgit() -> Iterator[DistGit]:
    """A dist-git with a past: two packages, with a commit of the same second each, from before anybody listened."""
    folder = Path(tempfile.mkdtemp(prefix="dist-git-"))
    made = DistGit(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_COMMITTER_DATE", PAST)
        for name in ("greeter", "hostinfo"):
            made.commit(name, package(name, "0.5"))
    yield made
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def canaries() -> Canaries:
    """The secrets of this stack."""
    return planting.make()


@pytest.fixture(scope="session")
def watch(canaries: Canaries) -> Iterator[Watch]:
    """Who looks at the process listings as long as this stack runs."""
    with Watch(canaries, every=0.5) as made:
        yield made


@pytest.fixture(scope="session")
def receiver(canaries: Canaries) -> Iterator[Receiver]:
    """A datahub downstream."""
    with Receiver(canaries.planted["receiver"]) as made:
        yield made


@pytest.fixture(scope="session")
def pipeline(distgit: DistGit, receiver: Receiver, canaries: Canaries, watch: Watch) -> Iterator[settings.Settings]:
    """The whole pipeline, up and listening, on this dist-git."""
    state = Path(tempfile.mkdtemp(prefix="ci-pipeline-e2e-"))
    try:
        configured = re.sub(r"(?ms)^\[conformance\]\n.*?(?=^\[)", CLUSTER, settings.config_file().read_text())
        (state / "pipeline.toml").write_text(configured + QUICKER + NO_STORM + DOWNSTREAM.replace("URL", receiver.url))
        planted = planting.plant(canaries, state)
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("CI_PIPELINE_CONFORMANCE__CLUSTER")
            patch.setenv("CI_PIPELINE_STATE", str(state))
            patch.setenv("CI_PIPELINE_CONFIG", str(state / "pipeline.toml"))
            ours = {"CI_PIPELINE_DIST_GIT__URL": distgit.url, "RECEIVER_KEY": receiver.key}
            bring_up(extra_env={**planted, **ours})
            configured = settings.load()
        yield configured
    finally:
        down(state=state)
        shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(autouse=True)
def _settings_of_the_pipeline(pipeline: settings.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database and the folders these tests look at are the pipeline's."""
    point_to(pipeline, monkeypatch)


def point_to(pipeline: settings.Settings, patch: pytest.MonkeyPatch) -> None:
    """Let this process have the settings of the pipeline."""
    patch.setenv("CI_PIPELINE_STATE", str(pipeline.state))
    patch.setenv("CI_PIPELINE_CONFIG", str(pipeline.state / "pipeline.toml"))
    patch.delenv("CI_PIPELINE_CONFORMANCE__CLUSTER", raising=False)
    settings.current.cache_clear()


@pytest.fixture(scope="session")
def bus(pipeline: settings.Settings) -> Iterator[Bus]:
    """A listener that hears everything from before the first push."""
    client = Bus(pipeline.bus.url.get_secret_value())
    yield client
    client.close()


def push(bus: Bus, recorded: Path, repo: str, rev: str, branch: str = "f26", *, by: str = "") -> None:
    """Announce a push in the very form that was recorded on Fedora's bus, as an archive returns it, by somebody."""
    message = json.loads((recorded / f"{RECEIVE}.json").read_text())
    path = f"/srv/git/repositories/rpms/{repo}.git"
    message["msg"]["commit"] |= {"repo": repo, "rev": rev, "branch": branch, "path": path}
    message["msg"] |= {"agent": by} if by else {}
    bus.publish(RECEIVE, json.dumps(message).encode())


@pytest.fixture(scope="session")
def good(bus: Bus, distgit: DistGit) -> list[dict[str, Any]]:
    """All that was announced about a good change."""
    rev = distgit.commit("greeter", package("greeter", "1.0"))
    push(bus, Path(__file__).parents[1] / "data" / "messages", "greeter", rev)
    return bus.wait_for("complete", rev)


def wait_until(true: Any, *, seconds: float, what: str) -> Any:
    """Return what `true(session)` returns once it is not falsy. The database may be away meanwhile."""
    end = time.monotonic() + seconds * PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(DatabaseUnreachable), store.session() as session:
            if found := true(session):
                return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds * PATIENCE} s: {what}")


@pytest.fixture(scope="session")
def api(pipeline: settings.Settings) -> Iterator[httpx.Client]:
    """A session with the api-server, as a person's browser has one."""
    with httpx.Client(base_url=pipeline.airflow.url, trust_env=False, timeout=60) as client:
        client.headers["Authorization"] = f"Bearer {token_of(client, pipeline)}"
        yield client


def token_of(client: httpx.Client, pipeline: settings.Settings) -> str:
    """Return what Airflow gives whoever logs in with the account of the stack."""
    account = {"username": pipeline.airflow.username, "password": pipeline.airflow.password.get_secret_value()}
    token: str = client.post("/auth/token", json=account).json()["access_token"]
    return token


def url_of(run: Run, task: str = "") -> str:
    """Return the API's address of a run or of one of its tasks."""
    return f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}" + (f"/taskInstances/{task}" if task else "")


def clear(api: httpx.Client, run: Run, task: str) -> None:
    """Clear a task of a run and what follows it, as the UI does."""
    body = {"dag_run_id": run.run_id, "dry_run": False, "only_failed": False, "include_downstream": True}
    answer = api.post(f"/api/v2/dags/{run.dag_id}/clearTaskInstances", json=body | {"task_ids": [task]})
    answer.raise_for_status()
