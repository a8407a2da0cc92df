"""Airflow's REST API, as far as the pipeline needs it: starting, watching and ending DAG runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from ci_pipeline.errors import AirflowRefused, AirflowUnreachable

if TYPE_CHECKING:
    from datetime import datetime

    from ci_pipeline.settings import Airflow

_CREATED_OR_THERE: Final = (200, 409)
# Names in Airflow's audit log of what a person does to a run or a task in the UI, or by the API.
_BY_HAND: Final = ["patch_dag_run", "patch_task_instance", "patch_task_group_instances"]


class AirflowApi:
    """A session with the api-server, logged in at the first request."""

    def __init__(self, settings: Airflow, *, transport: httpx.BaseTransport | None = None) -> None:
        """Use the address and the account of the settings."""
        self._settings = settings
        self._client = httpx.Client(base_url=settings.url, timeout=30, transport=transport)

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._client.close()

    def trigger(self, dag_id: str, run_id: str, *, conf: dict[str, str], note: str) -> None:
        """Start a DAG run. One that exists under this id already is the same one: the id names the change.

        Raises:
            AirflowUnreachable: Airflow is away, or refuses the account.
            AirflowRefused: it refuses this run: its DAG is not there yet, or is broken.
        """
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf, "note": note}
        response = self._request("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)
        if response.status_code not in _CREATED_OR_THERE:
            msg = f"Airflow answered {response.status_code} to starting {dag_id} {run_id}: {response.text[:300]}"
            raise AirflowRefused(msg)

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """Return the state of a DAG run: `queued`, `running`, `success`, `failed`; None when it was deleted.

        Raises:
            AirflowApiError: as for `trigger`.
        """
        response = self._request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        return str(self._answer(response)["state"])

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Return the state of every task of a DAG run, by task id; "": not scheduled yet.

        Raises:
            AirflowApiError: as for `trigger`.
        """
        response = self._request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")
        return {task["task_id"]: task["state"] or "" for task in self._answer(response)["task_instances"]}

    def ended_by(self, dag_id: str, run_id: str, *, since: datetime) -> str:
        """Return who changed the state of a DAG run or of its tasks by hand since a time, or "" if nobody did.

        Raises:
            AirflowApiError: as for `trigger`.
        """
        query = {"dag_id": dag_id, "run_id": run_id, "after": since.isoformat(), "included_events": _BY_HAND}
        entries = self._answer(self._request("GET", "/api/v2/eventLogs", query=query))["event_logs"]
        return next((str(entry["owner"]) for entry in entries), "")

    def fail_run(self, dag_id: str, run_id: str) -> None:
        """Mark a DAG run failed: Airflow ends its tasks, and lets its teardown run.

        Raises:
            AirflowApiError: as for `trigger`.
        """
        self._answer(self._request("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", {"state": "failed"}))

    def _answer(self, response: httpx.Response) -> dict[str, Any]:
        if response.is_error:
            asked = f"{response.request.method} {response.request.url.path}"
            msg = f"Airflow answered {response.status_code} to {asked}: {response.text[:300]}"
            raise AirflowRefused(msg)
        answer: dict[str, Any] = response.json()
        return answer

    def _request(
        self, method: str, path: str, body: dict[str, Any] | None = None, query: dict[str, Any] | None = None
    ) -> httpx.Response:
        try:
            self._log_in()
            response = self._client.request(method, path, json=body, params=query)
        except httpx.HTTPError as error:
            msg = f"Airflow at {self._settings.url} does not answer: {error}"
            raise AirflowUnreachable(msg) from error
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._client.headers.pop("Authorization", None)
        return response

    def _log_in(self) -> None:
        if "Authorization" not in self._client.headers:
            account = {"username": self._settings.username, "password": self._settings.password.get_secret_value()}
            response = self._client.post("/auth/token", json=account)
            if response.is_error:
                msg = f"Airflow refuses the account {self._settings.username} (airflow.username, airflow.password)"
                raise AirflowUnreachable(msg)
            self._client.headers["Authorization"] = f"Bearer {response.json()['access_token']}"
