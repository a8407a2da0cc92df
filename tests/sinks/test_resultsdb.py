"""What a ResultsDB is told: outcome, item and data, and the group of the run."""

import pytest
from pydantic import ValidationError

from ci_pipeline import store
from ci_pipeline.executors.report import aborted
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.sink_sections import ResultsDbSink
from ci_pipeline.stages import BUILD_PACKAGE, CONFORMANCE_TESTS, PROVISION_HOSTS
from ci_pipeline.store import runs
from tests.makers import COMPOSE_REV, REV, change, new_run, play, report
from tests.sinks.conftest import Downstream, Make
from tests.sinks.servers import ResultsDbServer

pytestmark = pytest.mark.usefixtures("database")

NVR = "greeter-1.0-1.3.35fdde9.fc26"


def results(hub: Downstream) -> list[dict]:
    """Deliver, and return what the server has."""
    done = hub.deliver()
    assert (done.parked, done.waiting) == (0, 0), [row.answer for row in hub.rows]
    assert isinstance(hub.server, ResultsDbServer)
    return hub.server.results


def test_each_stage_is_a_result_of_what_it_is_about(downstream: Make) -> None:
    """The build, the commit, the image; all in the group of their run, under the topics of their ends."""
    hub = downstream("resultsdb")
    play(hub.settings, new_run(), *[Status.SUCCESS] * 6)
    found = results(hub)

    assert [one["testcase"]["name"].removeprefix("org.centos.prod.ci.pipeline.") for one in found] == [
        "package.complete",
        "package.test.functional.complete",
        "compose.complete",
        "compose.test.integration.complete",
        "image.complete",
        "image.test.smoke.complete",
    ]
    image = ("fedora-atomic-26.1-9a4e37c459e67c7.qcow2", "image")
    assert [(one["data"]["item"], one["data"]["type"]) for one in found] == [
        *[(NVR, "rpm_build")] * 2,
        *[(COMPOSE_REV, "ostree_commit")] * 2,
        *[image] * 2,
    ]
    assert {one["outcome"] for one in found} == {"PASSED"}
    assert len({one["groups"][0]["uuid"] for one in found}) == 1


def test_a_result_has_the_data_to_find_it_by(downstream: Make) -> None:
    """And nothing that is empty."""
    hub = downstream("resultsdb", build_type="koji_build")
    play(hub.settings, new_run(), Status.SUCCESS)
    (found,) = results(hub)
    identity = found["data"].pop("ci_pipeline_id")

    assert identity == str(hub.rows[0].id)
    assert found["data"] == {
        "item": NVR,
        "type": "koji_build",
        "nvr": NVR,
        "original_spec_nvr": "greeter-1.0-1.fc26",
        "arch": "x86_64",
        "branch": "f26",
        "rev": REV,
        "repo": "rpms/greeter",
        "ref": "fedora/f26/x86_64/atomic-host",
        "run": "f26/1",
    }
    assert found["ref_url"].startswith("http")


@pytest.mark.parametrize(
    ("status", "fault", "outcome", "where_accepted"),
    [
        (Status.SUCCESS, Fault.NONE, "PASSED", "PASSED"),
        (Status.UNSTABLE, Fault.NONE, "NEEDS_INSPECTION", "NEEDS_INSPECTION"),
        (Status.FAILURE, Fault.PACKAGE, "FAILED", "FAILED"),
        (Status.FAILURE, Fault.NONE, "FAILED", "FAILED"),
        (Status.FAILURE, Fault.INFRASTRUCTURE, "NEEDS_INSPECTION", "ERROR"),
        (Status.ABORTED, Fault.NONE, "NEEDS_INSPECTION", "ERROR"),
        (Status.SKIPPED, Fault.NONE, "INFO", "INFO"),
    ],
)
def test_an_outcome_says_nothing_of_a_package_that_is_not_to_blame(
    downstream: Make, status: Status, fault: Fault, outcome: str, where_accepted: str
) -> None:
    """What the infrastructure broke is ERROR, where the server knows that word. The end of the run says the same."""
    plain = downstream("resultsdb")
    knows_error = downstream("resultsdb", beside=plain, name="knows-error", outcomes=["ERROR"])
    knows_error.server.outcomes = ("ERROR",)  # type: ignore[attr-defined]
    run = new_run()
    ended = aborted("because") if status is Status.ABORTED else report(BUILD_PACKAGE, status, "because", fault)
    with store.session() as session:
        journal, row = Journal(session, knows_error.settings), runs.locked(session, run.id)
        journal.begin_stage(row, BUILD_PACKAGE, 1)
        journal.finish_stage(row, BUILD_PACKAGE, 1, ended, final=True)
        if status is Status.FAILURE:
            journal.finish_run(row)
    ends = 2 if status is Status.FAILURE else 1

    assert [one["outcome"] for one in results(Downstream(knows_error.settings, plain_sink(plain), plain.server))] == (
        [outcome] * ends
    )
    assert [one["outcome"] for one in results(knows_error)] == [where_accepted] * ends


def plain_sink(hub: Downstream) -> ResultsDbSink:
    """Return the sink of a downstream."""
    sink = hub.settings.sink(hub.name)
    assert isinstance(sink, ResultsDbSink)
    return sink


def test_what_is_known_of_nothing_is_of_its_commit(downstream: Make) -> None:
    """A build that failed before it had an NVR."""
    hub = downstream("resultsdb")
    play(hub.settings, new_run(), Status.FAILURE)
    (found,) = results(hub)

    assert (found["data"]["item"], found["data"]["type"]) == (f"rpms/greeter#{REV}", "dist_git_commit")
    assert found["note"] == "because"


def test_what_a_stage_is_about_stays_what_it_was(downstream: Make) -> None:
    """A build is delivered late: what later stages made is not its own."""
    hub = downstream("resultsdb", events=["complete"])
    play(hub.settings, new_run(), *[Status.SUCCESS] * 3)
    first = results(hub)[0]

    assert "compose_rev" not in first["data"]


def test_a_skipped_stage_is_for_information(downstream: Make) -> None:
    """Under the topic of the end it would have had."""
    hub = downstream("resultsdb")
    with store.session() as session:
        row = runs.create(session, change())
        Journal(session, hub.settings).skip_stage(row, PROVISION_HOSTS, 1, "no cluster")
    (found,) = results(hub)

    assert found["outcome"] == "INFO"
    assert found["testcase"]["name"].endswith(".image.test.conformance.complete")
    assert CONFORMANCE_TESTS.complete == PROVISION_HOSTS.complete


def test_what_waits_and_what_goes_on_is_told_to_a_server_that_accepts_it(downstream: Make) -> None:
    """QUEUED, RUNNING, and then the end; three results under one testcase."""
    hub = downstream("resultsdb", events=["queued", "running", "complete"], outcomes=["QUEUED", "RUNNING"])
    hub.server.outcomes = ("QUEUED", "RUNNING")  # type: ignore[attr-defined]
    play(hub.settings, new_run(), Status.SUCCESS, Status.SUCCESS)
    found = results(hub)

    assert [one["outcome"] for one in found] == ["RUNNING", "PASSED", "QUEUED", "RUNNING", "PASSED"]
    assert {one["testcase"]["name"] for one in found[2:]} == {
        "org.centos.prod.ci.pipeline.package.test.functional.complete"
    }


def test_events_whose_outcomes_the_server_does_not_accept_are_a_wrong_setting() -> None:
    """It would refuse every one of them."""
    with pytest.raises(ValidationError, match='outcomes must have "RUNNING"'):
        ResultsDbSink(name="r", kind="resultsdb", url="http://r/api/v2.0", events=["running"])


@pytest.mark.parametrize(
    ("account", "header"),
    [
        ({"username": "ci", "password_env": "SINK_PASSWORD"}, "Basic Y2k6aHVudGVyMg=="),
        ({"token_env": "SINK_PASSWORD"}, "Bearer hunter2"),
        ({}, None),
    ],
)
def test_we_say_who_we_are(
    downstream: Make, monkeypatch: pytest.MonkeyPatch, account: dict[str, str], header: str | None
) -> None:
    """With an account, a token, or not at all; a `.netrc` and proxies of the environment do not matter."""
    monkeypatch.setenv("SINK_PASSWORD", "hunter2")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    hub = downstream("resultsdb", **account)
    play(hub.settings, new_run(), Status.SUCCESS)
    results(hub)

    assert hub.server.asked[0].headers.get("authorization") == header


def test_a_redirect_does_not_get_the_password(downstream: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers may send us anywhere."""
    monkeypatch.setenv("SINK_PASSWORD", "hunter2")
    other = downstream("http")
    hub = downstream("resultsdb", username="ci", password_env="SINK_PASSWORD")
    play(hub.settings, new_run(), Status.SUCCESS)
    hub.server.moods = [f"307 Location={other.server.url}"]
    done = hub.deliver()

    assert "it answered 307" in done.problem
    assert not other.server.asked
