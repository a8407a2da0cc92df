"""What any HTTP server is told: the JSON of our API, signed so that a library of the standard finds it right."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from ci_pipeline import store
from ci_pipeline.datahub import queries
from ci_pipeline.executors.report import Report, ReportedArtifact
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import runs
from tests.makers import new_run, play
from tests.sinks.conftest import Make
from tests.sinks.servers import SECRET, WebhookServer

pytestmark = pytest.mark.usefixtures("database")


def test_a_result_is_told_as_the_api_has_it(downstream: Make) -> None:
    """With its run; only where its files are on our machine is left out."""
    hub = downstream("http")
    run = new_run()
    artifact = ReportedArtifact(name="a.rpm", kind="rpm", path="/srv/secret/a.rpm", sha256="0" * 64, size=1)
    with store.session() as session:
        journal, row = Journal(session, hub.settings), runs.locked(session, run.id)
        journal.begin_stage(row, BUILD_PACKAGE, 1)
        done = Report(status=Status.SUCCESS, artifacts=[artifact])
        journal.finish_stage(row, BUILD_PACKAGE, 1, done, final=True)
    hub.deliver()
    with store.session() as session:
        of_api = queries.result(session, hub.settings, "f26/1/build_package/1").model_dump(mode="json")
    assert isinstance(hub.server, WebhookServer)
    (event,) = hub.server.events.values()
    assert of_api["artifacts"][0].pop("path") == "/srv/secret/a.rpm"

    assert event["result"] == of_api
    assert event["run"] == of_api["run"]
    assert (event["event"], event["status"]) == ("package.complete", "SUCCESS")
    assert "/srv/secret" not in json.dumps(event)


def test_the_end_of_a_run_is_told_without_a_result(downstream: Make) -> None:
    """With the status of the run."""
    hub = downstream("http")
    run = new_run()
    play(hub.settings, run, Status.FAILURE)
    with store.session() as session:
        Journal(session, hub.settings).finish_run(runs.locked(session, run.id))
    hub.deliver()
    assert isinstance(hub.server, WebhookServer)
    end = list(hub.server.events.values())[-1]

    assert (end["event"], end["status"], end["result"]) == ("complete", "FAILURE", None)
    assert end["run"]["status"] == "FAILURE"


def test_a_library_of_the_standard_finds_the_signature_right(downstream: Make) -> None:
    """Of any of the keys, so that a receiver can change its own; and wrong when a byte differs."""
    hub = downstream("http")
    play(hub.settings, new_run(), Status.SUCCESS)
    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SINK_SECRET", f"{other} {SECRET}")
        hub.deliver()
    asked = hub.server.asked[0]

    for secret in (SECRET, other):
        assert Webhook(secret).verify(asked.body, asked.headers)["event"] == "package.complete"
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(SECRET).verify(asked.body + b" ", asked.headers)


def test_a_repetition_has_the_same_id(downstream: Make) -> None:
    """By it the receiver drops what it has."""
    hub = downstream("http")
    play(hub.settings, new_run(), Status.SUCCESS)
    hub.server.moods = ["cut"]
    hub.deliver()
    hub.deliver()

    assert len({asked.headers["webhook-id"] for asked in hub.server.asked}) == 1
    assert len(hub.server.asked) == 2
    assert len(hub.has) == 1


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that nobody has signed but itself, and its key, in one file."""
    path = tmp_path / "server.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", path]
    subprocess.run([*made, *names], check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    return path


def test_a_server_that_nobody_vouches_for_is_told_nothing(downstream: Make, certificate: Path) -> None:
    """Unless the settings trust its certificate."""
    stranger = downstream("http", certificate=certificate, timeout_seconds=10)
    known = downstream(
        "http", beside=stranger, name="known", certificate=certificate, timeout_seconds=10, ca=certificate
    )
    play(known.settings, new_run(), Status.SUCCESS)
    refused, taken = stranger.deliver(), known.deliver()

    assert "CERTIFICATE_VERIFY_FAILED" in refused.problem
    assert (refused.waiting, stranger.server.asked) == (1, [])
    assert taken.delivered == 1
