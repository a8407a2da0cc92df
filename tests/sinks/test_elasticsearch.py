"""What an Elasticsearch is told: documents in the fields of ECS."""

import pytest

from ci_pipeline.outcome import Status
from tests.makers import REV, new_run, play
from tests.sinks.conftest import Make
from tests.sinks.servers import ElasticServer

pytestmark = pytest.mark.usefixtures("database")


@pytest.mark.parametrize(
    ("status", "outcome"), [(Status.SUCCESS, "success"), (Status.UNSTABLE, "failure"), (Status.FAILURE, "failure")]
)
def test_a_result_is_a_document_of_ecs(downstream: Make, status: Status, outcome: str) -> None:
    """Its outcome in the words of ECS, its duration in nanoseconds."""
    hub = downstream("elasticsearch")
    play(hub.settings, new_run(), Status.SUCCESS, status)
    hub.deliver()
    assert isinstance(hub.server, ElasticServer)
    document = list(hub.server.documents.values())[1]
    event = document["event"]

    assert (event["action"], event["type"], event["outcome"]) == ("package.test.functional.complete", ["end"], outcome)
    assert event["duration"] >= 0
    assert event["end"] == document["@timestamp"]
    assert document["package"] == {
        "name": "greeter",
        "type": "rpm",
        "architecture": "x86_64",
        "version": "1.0-1.3.35fdde9.fc26",
        "build_version": REV,
    }
    assert document["labels"] == {"branch": "f26", "kind": "push", "stage": "functional_tests", "status": status}
    assert document["ci_pipeline"]["result"] == "f26/1/functional_tests/1"


def test_what_goes_on_has_begun_and_not_ended(downstream: Make) -> None:
    """Also when it is told late, after its end."""
    hub = downstream("elasticsearch", events=["running"])
    play(hub.settings, new_run(), Status.SUCCESS)
    hub.deliver()
    assert isinstance(hub.server, ElasticServer)
    (document,) = hub.server.documents.values()

    assert (document["event"]["type"], document["event"]["outcome"]) == (["start"], "unknown")
    assert "duration" not in document["event"]


def test_many_go_with_one_request(downstream: Make) -> None:
    """A hundred at most."""
    hub = downstream("elasticsearch")
    for repo in ("greeter", "hostinfo"):
        play(hub.settings, new_run(repo), Status.SUCCESS, Status.SUCCESS)
    hub.deliver()

    assert len(hub.server.asked) == 1
    assert len(hub.has) == 4


def test_we_show_an_api_key(downstream: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Elasticsearch's own scheme."""
    monkeypatch.setenv("SINK_KEY", "a-key")
    hub = downstream("elasticsearch", token_env="SINK_KEY")
    play(hub.settings, new_run(), Status.SUCCESS)
    hub.deliver()

    assert hub.server.asked[0].headers["authorization"] == "ApiKey a-key"
