"""Firing a run: what Airflow may answer, and what becomes of it. The real api-server is in tests/e2e."""

from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.errors import AirflowRefused, AirflowUnreachable
from ci_pipeline.sections import Airflow


def api(answer: Callable[[httpx.Request], httpx.Response]) -> AirflowApi:
    """Return a session with an api-server that answers this to starting a run."""

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        assert request.headers["Authorization"] == "Bearer token"
        return answer(request)

    return AirflowApi(Airflow(url="http://airflow"), transport=httpx.MockTransport(handle))


def fire(session: AirflowApi) -> None:
    """Start a run."""
    session.trigger("ci-pipeline-f26", "rpms.mesa-35fdde9-f26-1", conf={"repo": "mesa"}, note="rpms/mesa 35fdde9 f26")


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
def test_a_refusal_is_an_error_with_what_airflow_said(status: int) -> None:
    """The change stays queued."""
    with pytest.raises(AirflowRefused, match=f"Airflow answered {status} .* because"):
        fire(api(lambda _: httpx.Response(status, text="because")))


def test_airflow_that_is_away_is_an_error() -> None:
    """The same."""

    def away(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(AirflowUnreachable, match="does not answer: refused"):
        fire(api(away))


def test_a_wrong_password_names_the_setting() -> None:
    """And does not show it."""
    transport = httpx.MockTransport(lambda _: httpx.Response(401))
    session = AirflowApi(Airflow(url="http://airflow", password="hunter2"), transport=transport)

    with pytest.raises(AirflowUnreachable, match=r"airflow.password") as error:
        fire(session)

    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("status", [200, 409])
def test_a_run_that_exists_already_is_the_same_run(status: int) -> None:
    """The run id is the idempotency key."""
    fire(api(lambda _: httpx.Response(status)))


@pytest.mark.parametrize(("status", "gone"), [(204, True), (404, True), (409, False)])
def test_deleting_a_run_tells_whether_it_is_gone(status: int, gone: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """One that is not there any more is; one that runs again is not."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.raw_path.decode()))
        return httpx.Response(status)

    assert api(answer).delete_run("ci-pipeline-reconciler", "manual__2026-01-01T00:00:00+00:00") is gone
    assert asked == [
        ("DELETE", "/api/v2/dags/ci-pipeline-reconciler/dagRuns/manual__2026-01-01T00%3A00%3A00%2B00%3A00")
    ]


def test_a_run_that_may_not_be_deleted_is_an_error() -> None:
    """The account may not, or Airflow is broken."""
    with pytest.raises(AirflowRefused, match="Airflow answered 403 to DELETE"):
        api(lambda _: httpx.Response(403)).delete_run("ci-pipeline-reconciler", "x")


def test_a_dag_without_runs_has_no_newest() -> None:
    """It was never unpaused."""
    assert api(lambda _: httpx.Response(200, json={"dag_runs": []})).newest_run("ci-pipeline-reconciler") == ""


def test_old_runs_are_asked_for_in_pages_until_there_are_no_more() -> None:
    """Only those that have ended."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        query = request.url.params
        asked.append((query.get_list("state"), query["end_date_lt"]))
        found = [f"run{number}" for number in range(250)][int(query["offset"]) :][:100]
        return httpx.Response(200, json={"dag_runs": [{"dag_run_id": run_id} for run_id in found]})

    when = datetime(2026, 1, 1, tzinfo=UTC)

    assert len(set(api(answer).runs_ended_before("ci-pipeline-reconciler", when))) == 250
    assert set(map(str, asked)) == {"(['success', 'failed'], '2026-01-01T00:00:00+00:00')"}


@pytest.mark.parametrize(
    ("extra", "who"),
    [
        ('{"note": "I look at it", "method": "PATCH"}', ""),  # ours, or a person's
        ('{"state": "failed", "method": "PATCH"}', "anna"),
        ('{"new_state": "success", "note": "known", "method": "PATCH"}', "anna"),
        (None, "anna"),
    ],
)
def test_who_only_wrote_a_note_has_ended_nothing(extra: str | None, who: str) -> None:
    """Airflow's audit log calls both a change of the run or the task."""
    session = api(lambda _: httpx.Response(200, json={"event_logs": [{"owner": "anna", "extra": extra}]}))

    assert session.ended_by("ci-pipeline-f26", "x", since=datetime(2026, 1, 1, tzinfo=UTC)) == who
