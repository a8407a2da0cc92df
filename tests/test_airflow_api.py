"""Firing a run: what Airflow may answer, and what becomes of it. The real api-server is in tests/e2e."""

from collections.abc import Callable

import httpx
import pytest

from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.errors import AirflowRefused, AirflowUnreachable
from ci_pipeline.settings import Airflow


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
