"""The whole stack, Airflow included, once."""

import json
from pathlib import Path

import httpx
import psutil
import pytest

from ci_pipeline import stack
from tests.processes import goes_on

from .conftest import processes_of

POOLS = {"compose_f26": stack.Pool(1, "one compose of f26 at a time", include_deferred=True)}


@pytest.mark.timeout(600)
def test_everything_comes_up_healthy_and_goes_down(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All components healthy, pools asserted, ports on loopback only, a proxy ignored; afterwards nothing is left."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    said: list[str] = []
    result = stack.up(state=state, pools=POOLS, progress=said.append)
    found = stack.status(state=state)

    assert result.started == stack.ALL
    assert found.healthy, found.components
    assert [one.name for one in found.components] == list(stack.ALL)
    assert said

    env = result.variables
    with httpx.Client(base_url=env["CI_PIPELINE_AIRFLOW__URL"], trust_env=False) as client:
        who = {"username": env["CI_PIPELINE_AIRFLOW__USERNAME"], "password": env["CI_PIPELINE_AIRFLOW__PASSWORD"]}
        token = client.post("/auth/token", json=who).json()["access_token"]
        pool = client.get("/api/v2/pools/compose_f26", headers={"Authorization": f"Bearer {token}"}).json()
        anonymous = client.get("/api/v2/pools")
        bearer = {"Authorization": f"Bearer {token}"}
        datahub = "/ci-pipeline-datahub/api/v1/runs"
        runs, refused = client.get(datahub, headers=bearer), client.get(datahub)
    assert (pool["slots"], pool["include_deferred"]) == (1, True)
    assert anonymous.status_code == httpx.codes.UNAUTHORIZED
    assert (runs.status_code, runs.json()) == (httpx.codes.OK, {"items": [], "next": None})
    assert (refused.status_code, refused.headers["www-authenticate"]) == (httpx.codes.UNAUTHORIZED, "Bearer")

    running = processes_of(state)
    pids = {process.pid for process in running}
    listeners = [one for one in psutil.net_connections("inet") if one.status == psutil.CONN_LISTEN and one.pid in pids]
    assert {one.laddr.ip for one in listeners} <= {"127.0.0.1", "::1"}
    assert {one.laddr.port for one in listeners} == set(
        json.loads((state / "stack.json").read_text())["ports"].values()
    )

    again = stack.up(state=state, pools=POOLS)
    assert again.already_up
    assert again.seconds < 3

    secrets = json.loads((state / "secrets.json").read_text()).values()
    logs = list((state / "logs").iterdir())
    assert not [path.name for path in logs if any(secret in path.read_text(errors="replace") for secret in secrets)]

    stopped = stack.down(state=state)
    assert set(stopped.stopped) == set(stack.ALL)
    assert not processes_of(state)
    assert not [process for process in running if goes_on(process)]
