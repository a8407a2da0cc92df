"""What an operator sees of the sinks: `status`, `deliver`, `dead`, the audit, the measures and the Bus page."""

import json
from collections.abc import Iterator

import pytest
from airflow.sdk.exceptions import AirflowException
from click.testing import Result
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from ci_pipeline import audit, measures, settings, store
from ci_pipeline.cli.app import app
from ci_pipeline.outcome import Status
from ci_pipeline.ui.access import Viewer
from ci_pipeline.ui.app import create_app
from operators.deliver import DeliverOperator
from tests.makers import new_run, play
from tests.sinks.conftest import Downstream, Make

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def hub(downstream: Make, monkeypatch: pytest.MonkeyPatch) -> Iterator[Downstream]:
    """A datahub that every process of the pipeline knows, and a build that it is to be told of."""
    made = downstream("http", name="datahub")
    sinks = [sink.model_dump(mode="json") for sink in made.settings.sinks]
    monkeypatch.setenv("CI_PIPELINE_SINKS", json.dumps(sinks))
    settings.current.cache_clear()
    play(settings.current(), new_run(), Status.SUCCESS)
    yield made
    settings.current.cache_clear()


def cli(*words: str) -> Result:
    """Run a command line."""
    result = CliRunner().invoke(app, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


async def login(_: object) -> Viewer:
    """Say who looks at the page."""
    return Viewer("someone", may_act=True)


def bus_page() -> str:
    """Return the Bus page."""
    outer = FastAPI()
    outer.mount("/ci-pipeline", create_app(login))
    with TestClient(outer, headers={"accept": "text/html"}) as client:
        answer = client.get("/ci-pipeline/bus")
    assert answer.status_code == 200
    return answer.text


def test_status_shows_the_lag_of_each_sink(hub: Downstream) -> None:
    """In words and for programs, with what the sink said."""
    hub.server.moods = ["503"]
    hub.deliver()
    told, data = cli("status").stdout, json.loads(cli("status", "--json").stdout)["work"]["sinks"]

    assert [(one["name"], one["waiting"], one["parked"], one["configured"]) for one in data] == [
        ("datahub", 1, 0, True)
    ]
    assert data[0]["oldest_at"]
    assert "datahub" in told
    assert "it answered 503" in told


def test_status_shows_what_waits_for_a_sink_that_is_not_configured(
    hub: Downstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is forgotten because a section was removed."""
    monkeypatch.setenv("CI_PIPELINE_SINKS", "[]")
    settings.current.cache_clear()

    assert "datahub (not configured any more)" in cli("status").stdout


def test_deliver_delivers_at_once(hub: Downstream) -> None:
    """Also what has to wait; exit status 1 while the sink does not take it."""
    hub.server.moods = ["503"]
    refused, taken, data = cli("deliver"), cli("deliver", "datahub"), cli("deliver", "--json")

    assert (refused.exit_code, taken.exit_code, data.exit_code) == (1, 0, 0)
    assert refused.stdout.startswith("datahub: 0 delivered, 0 parked, 1 waiting: it answered 503")
    assert taken.stdout == "datahub: 1 delivered, 0 parked, 0 waiting\n"
    assert json.loads(data.stdout)[0]["delivered"] == 0


def test_deliver_tells_a_sink_of_the_past(hub: Downstream) -> None:
    """It needs to know which one."""
    missing, told = cli("deliver", "--since", "2026-01-01"), cli("deliver", "datahub", "--since", "2026-01-01")

    assert (missing.exit_code, told.exit_code) == (2, 0)
    assert "--since needs the name of a sink" in missing.stderr
    assert told.stdout.startswith("datahub: 0 of the past are to be delivered\n")


@pytest.mark.parametrize("words", [["deliver", "elsewhere"], ["deliver", "elsewhere", "--since", "2026-01-01"]])
def test_a_sink_that_is_none_is_named(hub: Downstream, words: list[str]) -> None:
    """With those there are."""
    result = cli(*words)

    assert result.exit_code == 2
    assert "there is no sink 'elsewhere' under [[sinks]]; there: datahub" in result.stderr


def test_without_sinks_deliver_says_where_to_read_on() -> None:
    """There is nothing to deliver to."""
    result = cli("deliver")

    assert result.exit_code == 2
    assert "docs/sinks.md" in result.stderr


def test_the_task_is_red_when_the_sink_did_not_take_what_was_due(hub: Downstream) -> None:
    """And green while it is left alone, and when it takes it."""
    task = DeliverOperator(task_id="datahub", sink="datahub")
    hub.server.moods = ["503"]
    with pytest.raises(
        AirflowException, match=r"1 waiting: it answered 503 .*; it is tried again, and nothing is lost"
    ):
        task.execute({})
    quiet = task.execute({})
    hub.deliver()

    assert quiet == {"delivered": 0, "parked": 0, "waiting": 1}
    assert task.execute({}) == {"delivered": 0, "parked": 0, "waiting": 0}


def test_what_a_sink_refused_is_found_by_everybody(hub: Downstream) -> None:
    """The audit, the list of what needs a human, the measures and the page."""
    hub.server.moods = ["400"]
    hub.deliver()
    identity = str(hub.rows[0].id)
    with store.session() as session:
        measured = measures.of_everything(session, ["datahub"])
    page, dead = bus_page(), json.loads(cli("dead", "list", "--json").stdout)
    findings = [found for found in audit.audit().findings if found.check == "parked"]

    assert [found.what for found in findings] == [f"delivery {identity}"]
    assert [letter["id"] for letter in dead] == [identity]
    assert (measured["sinks.datahub.parked"], measured["sinks.datahub.waiting"]) == (1, 0)
    assert identity in page
    assert "/ci-pipeline/change/f26/1" in page
    assert cli("dead", "show", identity).stdout.startswith(f"parked delivery {identity} of ")
    assert cli("dead", "replay", identity).stdout == f"delivery {identity} goes to datahub with the next pass\n"
    assert hub.deliver().delivered == 1


def test_the_bus_page_shows_the_lag_of_each_sink(hub: Downstream) -> None:
    """With its last answer; no secret is on it."""
    hub.server.moods = ["503"]
    hub.deliver()
    page = bus_page()

    assert '<h2 id="sinks">Sinks</h2>' in page
    assert "it answered 503" in page
    assert "whsec_" not in page
