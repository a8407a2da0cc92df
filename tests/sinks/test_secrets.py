"""What we sign in to sinks with is told to the sink alone, even by one that repeats it."""

import logging

import pytest
from typer.testing import CliRunner

from ci_pipeline.cli.app import app
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from tests.canaries import Canaries, canary
from tests.makers import new_run, play
from tests.sinks.conftest import Make

ACCOUNTS = {
    "resultsdb": {"username": "us", "password_env": "SINK_PASSWORD"},
    "elasticsearch": {"token_env": "SINK_PASSWORD"},
    "http": {"secret_env": "SINK_PASSWORD"},
}

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Canaries:
    """A password, a token or a key, in the environment."""
    secret = canary("sink", length=44)[:44]
    monkeypatch.setenv("SINK_PASSWORD", secret)
    return Canaries({"sink": secret})


@pytest.mark.parametrize("status", [401, 400, 500])
@pytest.mark.parametrize("kind", ACCOUNTS)
def test_a_sink_that_repeats_our_account_is_not_quoted_with_it(
    downstream: Make, planted: Canaries, current: Settings, caplog: pytest.LogCaptureFixture, kind: str, status: int
) -> None:
    """As proxies do in their error pages: neither the database, nor a log, nor a command has it then."""
    hub = downstream(kind, attempts=1, **ACCOUNTS[kind])
    play(hub.settings, new_run(), Status.SUCCESS)
    hub.server.moods = [f"echo {status}"] * 4
    with caplog.at_level(logging.DEBUG):
        done = hub.deliver()
    sent = [asked.headers.get("authorization", "") for asked in hub.server.asked]

    assert hub.rows[0].answer.startswith(f"it answered {status}")
    # A key only signs.
    assert all(planted.in_text(header) == ({"sink"} if kind != "http" else set()) for header in sent)
    assert planted.in_text(done.problem + hub.rows[0].answer + caplog.text) == set()
    assert planted.in_database(current.database.url.get_secret_value()) == {}
    for words in (["dead", "list"], ["dead", "list", "--json"]):
        assert planted.in_text(CliRunner().invoke(app, words).output) == set()


@pytest.mark.parametrize("kind", ["resultsdb", "elasticsearch"])
def test_a_secret_that_no_header_can_hold_is_not_told(
    downstream: Make, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The library quotes it in its error."""
    planted = Canaries({"sink": canary("sink") + "\n"})
    monkeypatch.setenv("SINK_PASSWORD", planted.planted["sink"])
    hub = downstream(kind, **ACCOUNTS[kind])
    play(hub.settings, new_run(), Status.SUCCESS)
    done = hub.deliver()

    assert Canaries({"sink": planted.planted["sink"].strip()}).in_text(done.problem + hub.rows[0].answer) == set()
