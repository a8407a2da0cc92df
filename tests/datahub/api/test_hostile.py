"""Whatever is asked for, there is an answer, and it is as the API's description has it."""

from collections.abc import Iterator

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ci_pipeline.datahub.api.app import create_app
from ci_pipeline.datahub.api.parameters import Outcome
from ci_pipeline.datahub.filters import RUNNING
from ci_pipeline.outcome import Status
from ci_pipeline.settings import current
from ci_pipeline.stages import BY_NAME
from ci_pipeline.store.tables import Run
from tests.datahub.api.conftest import API, IMAGE, PREFIX
from tests.ui.conftest import Login

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_made_up_requests_are_answered_as_described(login: Login, told: Run, mode: GenerationMode) -> None:
    """Right ones, and wrong ones: never a 500, and nothing that the description does not have."""
    # Not mounted: a path with dots may lead out of where it is, and whoever is there answers in their own way.
    described = schemathesis.openapi.from_asgi("/api/v1/openapi.json", create_app(login))
    operations = [found.ok() for found in described.get_all_operations()]
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for operation in operations))

    @settings(max_examples=100, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    ask()

    assert len(operations) == 12


def test_the_description_is_valid(client: TestClient) -> None:
    """It says where it is mounted, and every operation has a summary, its errors and a tag."""
    told = client.get(f"{API}/openapi.json").json()
    validate(told)
    operations = [one for path in told["paths"].values() for one in path.values()]

    assert told["servers"] == [{"url": PREFIX}]
    assert {"runs", "results", "tests", "images", "gating"} == {tag for one in operations for tag in one["tags"]}
    for one in operations:
        assert one["summary"]
        assert one["description"]
        assert {"304", "400", "401", "403", "404", "503", "default"} == set(one["responses"]) - {"200", "201"}


def test_the_words_of_the_pipeline_are_those_of_the_description(login: Login) -> None:
    """A stage or a status that joins them can be asked for."""
    parameters = create_app(login).openapi()["paths"]["/api/v1/results"]["get"]["parameters"]
    known = {one["name"]: str(one["schema"]) for one in parameters}

    assert all(stage in known["stage"] for stage in BY_NAME)
    assert set(Outcome.__args__) == {*Status, RUNNING}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("nrv=x", "unknown parameters: 'nrv'; known here: "),
        ("NVR=x", "unknown parameters: 'NVR'; known here: "),
        ("%00=1", "unknown parameters: '\\x00'; known here: "),
        ("nvr=a&nvr=b", "given more than once: 'nvr'"),
        ("nvr=", "nvr: "),
        ("nvr=a%00b", "nvr: "),
        ("nvr=" + "a" * 5_000, "nvr: "),
        ("repo=../etc", "repo: "),
        ("repo=%ff%fe", "repo: "),
        ("ref=a%00", "ref: "),
        ("run=f26/" + "9" * 5000, "run: "),
        ("run=f26", "run: "),
        ("compose_rev=9a4e", "compose_rev: "),
        ("stage=build", "stage: there is no such stage; there are build_package, "),
        ("outcome=success", "outcome: Input should be 'SUCCESS', "),
        ("kind=x", "kind: Input should be 'push', 'manual' or 'backfill'"),
        ("lane=fast", "lane: Input should be 'live' or 'storm'"),
        ("since=2026-01-31T12:00:00", "since: give a time with its zone in ISO 8601, as 2026-01-31T12:00:00Z"),
        ("since=2026-01-31T12:00:00+01:00", "a + has to be sent as %2B"),
        ("until=yesterday", "until: give a time"),
        ("until=1767225600", "until: give a time"),
        ("until=0001-01-01T00:00:00%2B23:59", "until: give a time"),
        ("since=9999-12-31T23:59:59-23:59", "since: give a time"),
        ("limit=0", "limit: "),
        ("limit=501", "limit: "),
        ("limit=1e3", "limit: "),
        ("cursor=-1", "cursor: "),
        ("cursor=" + "9" * 5000, "cursor: "),
        ("cursor=9223372036854775808", "cursor: "),
    ],
)
def test_a_wrong_parameter_is_refused_with_a_sentence(client: TestClient, query: str, sentence: str) -> None:
    """A typo in a filter never answers with everything."""
    answer = client.get(f"{API}/results?{query}")
    problem = answer.json()

    assert (answer.status_code, problem["status"], problem["title"]) == (400, 400, "Bad Request")
    assert sentence in problem["detail"]
    assert len(problem["detail"]) <= 1000


@pytest.mark.parametrize(
    "query", ["name=a%00b", "name=", "name=" + "a" * 5000, "outcome=SUCCESS", "result_outcome=passed"]
)
@pytest.mark.parametrize("path", ["tests", "results/f26/1/build_package/1/tests"])
def test_wrong_words_about_tests_are_refused(client: TestClient, told: Run, path: str, query: str) -> None:
    """PostgreSQL takes no NUL, and a test has other outcomes than its result."""
    answer = client.get(f"{API}/{path}?{query}")

    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["detail"]


@pytest.mark.parametrize("path", ["runs/f26/1", "results/f26/1/build_package/1", f"images/{IMAGE}"])
def test_what_takes_no_parameters_says_so(client: TestClient, told: Run, path: str) -> None:
    """Instead of passing them over."""
    answer = client.get(f"{API}/{path}?stage=build_package")

    assert answer.status_code == 400
    assert answer.json()["detail"] == "unknown parameters: 'stage'; there are none here"


@pytest.mark.parametrize(
    "path",
    [
        "runs/f26%00/1",
        "runs/f26/1%00",
        "runs/f26/99999999999999999999999999",
        "runs/f26/-1",
        "runs/..%2f..%2fetc/1",
        "runs/f26%2f1",
        "runs/f26/1/",
        "results/f26/1/build_package/1%2ftests",
        "results/f26/1/%ff/1",
        "results/f26/1/build_package/" + "9" * 30,
        "images/%00",
        "images/" + "a" * 2_000,
        "images/..%2f..%2fetc%2fpasswd",
        "%00",
    ],
)
def test_no_path_breaks_it(client: TestClient, told: Run, path: str) -> None:
    """A percent-encoded slash is a slash; everything else that makes no sense is refused."""
    answer = client.get(f"{API}/{path}")
    known = answer.status_code == 200 and "%2f" in path

    assert known or answer.status_code in {400, 404}
    assert known or answer.headers["content-type"] == "application/problem+json"


@pytest.fixture
def away(told: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The database does not answer for a while."""
    with monkeypatch.context() as patched:
        patched.setenv("CI_PIPELINE_DATABASE__URL", "postgresql+psycopg2://somebody@127.0.0.1:1/secret")
        current.cache_clear()
        yield
    current.cache_clear()


@pytest.mark.usefixtures("away")
def test_a_database_that_is_away_is_said(client: TestClient) -> None:
    """With when to come again, and not with where it is."""
    answer = client.get(f"{API}/results")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["detail"] == "The database is away; ask again in a few seconds"


def test_a_fault_of_ours_is_a_problem_too(client: TestClient, told: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says whose fault it is, and nothing of what went wrong."""
    monkeypatch.setattr("ci_pipeline.datahub.queries.run_list", lambda *_, **__: 1 / 0)
    answer = client.get(f"{API}/runs")

    assert answer.status_code == 500
    assert "not of the request" in answer.json()["detail"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "division" not in answer.text
