"""The intake: firing what is queued, whatever Airflow says to a part of it."""

from pathlib import Path

import httpx
import pytest

from ci_pipeline import intake, store
from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.intake import Intake
from ci_pipeline.settings import Settings
from ci_pipeline.store import outbox, runs
from tests.makers import new_run, pushed

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What an api-server answers to starting a run, by DAG; the real one is in tests/e2e."""
    answers: dict[str, int] = {}

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        return httpx.Response(answers.get(request.url.path.split("/")[4], 200))

    transport = httpx.MockTransport(handle)
    monkeypatch.setattr(intake, "AirflowApi", lambda settings: AirflowApi(settings, transport=transport))
    return answers


def waiting() -> list[str]:
    """Return the runs that are not fired."""
    with store.session() as session:
        return [run.run_id for run in runs.not_fired(session)]


def test_a_refused_run_does_not_hold_up_the_others(current: Settings, airflow: dict[str, int]) -> None:
    """It is fired again the next time."""
    refused, fired = new_run(), new_run(branch="rawhide")
    airflow["ci-pipeline-f26"] = 404
    Intake(current, trigger_run_id="x").catch_up()

    assert waiting() == [refused.run_id]
    assert fired.run_id not in waiting()

    airflow.clear()
    Intake(current, trigger_run_id="x").catch_up()

    assert waiting() == []


def test_airflow_that_is_away_loses_nothing(current: Settings) -> None:
    """Nothing listens where the settings point to: the change waits, its announcement is out."""
    settings = current.model_copy(update={"airflow": current.airflow.model_copy(update={"url": "http://127.0.0.1:9"})})
    taker = Intake(settings, trigger_run_id="x")
    taker.record([pushed()])
    taker.catch_up()
    with store.session() as session:
        pending = outbox.pending(session)

    assert len(waiting()) == 1
    assert pending == (0, 0)


def test_a_bus_that_is_away_keeps_the_announcements(current: Settings, airflow: dict[str, int]) -> None:
    """The run starts all the same."""
    bus = current.bus.model_copy(update={"url": type(current.bus.url)("amqp://127.0.0.1:9/"), "publish_timeout": 2})
    taker = Intake(current.model_copy(update={"bus": bus}), trigger_run_id="x")
    taker.record([pushed()])
    taker.catch_up()
    with store.session() as session:
        pending = outbox.pending(session)

    assert waiting() == []
    assert pending == (1, 0)


def test_a_certificate_that_is_not_there_keeps_the_announcements(
    current: Settings, airflow: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    """As it is while it is being renewed: the run starts, and what is wrong is said."""
    url = type(current.bus.url)("amqps://127.0.0.1:9/")
    bus = current.bus.model_copy(update={"url": url, "ca": Path("/gone.pem")})
    taker = Intake(current.model_copy(update={"bus": bus}), trigger_run_id="x")
    taker.record([pushed()])
    taker.catch_up()
    with store.session() as session:
        pending = outbox.pending(session)

    assert waiting() == []
    assert pending == (1, 0)
    assert "messages stay in the outbox: bus.ca /gone.pem cannot be read" in caplog.text
