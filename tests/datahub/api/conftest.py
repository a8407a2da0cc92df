"""The API as Airflow mounts it, with a stand-in for its login."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ci_pipeline import store
from ci_pipeline.datahub.api.app import create_app
from ci_pipeline.executors.report import Report
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE, FUNCTIONAL_TESTS
from ci_pipeline.store import images, runs
from ci_pipeline.store.tables import Run
from tests.makers import COMPOSE_REV, OUTPUTS, new_run, play
from tests.ui.conftest import Login

PREFIX: Final = "/ci-pipeline-datahub"
API: Final = f"{PREFIX}/api/v1"
IMAGE: Final = OUTPUTS["generate_image"]["image_name"]
TESTED: Final = Report.model_validate(
    {
        "status": "UNSTABLE",
        "reason": "1 of 3 tests failed: languages",
        "artifacts": [{"name": "test.log", "path": "/a/test.log", "kind": "log", "sha256": "0" * 64, "size": 2048}],
        "tests": [
            {"name": "greets", "outcome": "passed", "seconds": 0.5, "message": ""},
            {"name": "/plan/languages", "outcome": "failed", "seconds": 1.5, "message": "no Finnish"},
            {"name": "speaks", "outcome": "skipped", "seconds": 0, "message": ""},
        ],
    }
)


@pytest.fixture
def login() -> Login:
    """Who asks: at first someone who may read."""
    return Login()


@pytest.fixture
def app(login: Login) -> FastAPI:
    """The API, mounted."""
    outer = FastAPI()
    outer.mount(PREFIX, create_app(login))
    return outer


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client that follows no redirects, and gets an answer even to what breaks."""
    with TestClient(app, follow_redirects=False, raise_server_exceptions=False) as made:
        yield made


@pytest.fixture
def told(database: None, current: Settings) -> Run:
    """The run f26/1: built, its tests UNSTABLE, composed, an image made; a stage that still runs."""
    run = new_run()
    play(current, run, Status.SUCCESS)
    with store.session() as session:
        journal, row = Journal(session, current), runs.locked(session, run.id)
        journal.begin_stage(row, FUNCTIONAL_TESTS, 1)
        journal.finish_stage(row, FUNCTIONAL_TESTS, 1, TESTED, final=True)
    play(current, run, Status.SUCCESS, first=2)
    outputs = OUTPUTS["generate_image"] | {"compose_rev": COMPOSE_REV, "version": "26.1"}
    with store.session() as session:
        images.record(session, run=run.id, branch="f26", outputs=outputs)
        Journal(session, current).begin_stage(runs.locked(session, new_run("hostinfo").id), BUILD_PACKAGE, 1)
    return run


def walk(client: TestClient, path: str) -> list[Any]:
    """Return what all pages of a list have, following `next`."""
    found, following = [], f"{API}/{path}"
    while following:
        answer = client.get(following)
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        following = answer.json()["next"]
    return found
