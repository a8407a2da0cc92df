"""Pages and API with many runs stored, beside the same with few."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import make_url, text

from ci_pipeline import settings, store
from ci_pipeline.datahub.api import app as datahub
from ci_pipeline.stack import postgres, record
from ci_pipeline.stack.handle import locate
from ci_pipeline.ui import app as pages
from tests.benchmarks.measuring import Book, Row, alternately
from tests.benchmarks.servers import environment, servers
from tests.ui.conftest import HTML, Login
from tests.ui.test_scale import FILL

_FEW: Final = 1_000
_ROUNDS: Final = 20
# What people and programs look at; a key that is there in both databases. Of what the smaller one has two of, only two
# are asked for: the question is how an answer grows with what is stored, not with its own length.
_ASKED: Final = {
    "page of all changes": "/ci-pipeline/",
    "page of failed changes": "/ci-pipeline/?status=FAILURE",
    "page of a change": "/ci-pipeline/change/f26/500",
    "page of the bus": "/ci-pipeline/bus",
    "page of images": "/ci-pipeline/images",
    "API: runs": "/ci-pipeline-datahub/api/v1/runs",
    "API: runs of a package": "/ci-pipeline-datahub/api/v1/runs?repo=package7&limit=2",
    "API: results": "/ci-pipeline-datahub/api/v1/results",
    "API: results of an NVR": "/ci-pipeline-datahub/api/v1/results?nvr=package-1.0-500",
    "API: failed tests": "/ci-pipeline-datahub/api/v1/tests?outcome=failed&limit=2",
}


def measure(book: Book, state: Path, *, runs: int) -> None:
    """Ask everything of a database of few runs and of one of many, alternately."""
    with servers(state) as current:
        few = current.database.url.get_secret_value()
        databases = {_FEW: few, runs: _another(state, few)}
        for count, url in databases.items():
            _fill(url, count)
        with _client() as client:
            for name, path in _ASKED.items():
                measures = [partial(_seconds_of, client, databases[count], path) for count in (runs, _FEW)]
                for warm_up in measures:
                    warm_up()
                many, those = alternately(_ROUNDS, *measures)
                book.rows.append(Row(f"{name}, {runs:,} runs stored", f"the same, {_FEW:,} runs", "s", many, those))


def _another(state: Path, url: str) -> str:
    """Make a second database with our schema; return its URL."""
    layout = locate(state)
    known = record.load(layout)
    assert known is not None
    administrator = postgres._connect(known.ports["postgres"], record.load_or_create_secrets(layout), "postgres")
    try:
        administrator.autocommit = True
        with administrator.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE many OWNER "{postgres.ROLE}"')
    finally:
        administrator.close()
    made = make_url(url).set(database="many").render_as_string(hide_password=False)
    store.migrate(made)
    return made


def _fill(url: str, runs: int) -> None:
    with store.session(url) as session:
        for statement in (*FILL, "ANALYZE"):
            session.execute(text(statement), {"runs": runs})


@contextmanager
def _client() -> Iterator[TestClient]:
    """Return a client of pages and API as Airflow mounts them, in this process: no network, one request at a time."""
    outer = FastAPI()
    outer.mount("/ci-pipeline-datahub", datahub.create_app(Login()))
    outer.mount("/ci-pipeline", pages.create_app(Login()))
    with TestClient(outer, follow_redirects=False, headers=HTML) as client:
        yield client


def _seconds_of(client: TestClient, url: str, path: str) -> float:
    """Return the seconds an answer takes."""
    with environment(_database(url)):
        settings.current()
        began = time.perf_counter()
        answer = client.get(path)
        seconds = time.perf_counter() - began
    assert answer.status_code == 200, f"{path}: {answer.status_code}"
    return seconds


def _database(url: str) -> Mapping[str, str]:
    return {"CI_PIPELINE_DATABASE__URL": url}
