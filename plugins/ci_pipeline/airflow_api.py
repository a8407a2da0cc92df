"""Airflow's REST API, as far as the pipeline needs it: starting, watching and ending DAG runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import httpx

from ci_pipeline.errors import AirflowRefused, AirflowUnreachable

if TYPE_CHECKING:
    from datetime import datetime

    from ci_pipeline.sections import Airflow

_PAGE: Final = 100
_CREATED_OR_THERE: Final = (200, 409)
# Names in Airflow's audit log of what a person does to a run or a task in the UI, or by the API.
_BY_HAND: Final = ["patch_dag_run", "patch_task_instance", "patch_task_group_instances"]


class AirflowApi:
    """A session with the api-server, logged in at the first request."""

    def __init__(self, settings: Airflow, *, transport: httpx.BaseTransport | None = None) -> None:
        """Use the address and the account of the settings."""
        self._settings = settings
        self._url = settings.internal_url or settings.url
        # What checks certificates takes 30 ms to make, and has nothing to do where there is no TLS.
        encrypted = httpx.URL(self._url).scheme != "http"
        self._client = httpx.Client(base_url=self._url, timeout=30, transport=transport, verify=encrypted)

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._client.close()

    def trigger(
        self, dag_id: str, run_id: str, *, conf: dict[str, str], note: str, partition_key: str | None = None
    ) -> None:
        """Start a DAG run. One that exists under this id already is the same one: the id names the change.

        Args:
            dag_id: the DAG.
            run_id: the run's id.
            conf: its parameters.
            note: what the UI shows beside it.
            partition_key: the revision a backfill of its date need not run again; the index has to know it.

        Raises:
            AirflowUnreachable: Airflow is away, or refuses the account.
            AirflowRefused: it refuses this run: its DAG is not there yet, or is broken.
        """
        body: dict[str, Any] = {"dag_run_id": run_id, "logical_date": None, "partition_key": partition_key}
        body |= {"conf": conf, "note": note}
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

        A note that is written, by the pipeline or by hand, is the same event and ends nothing.

        Raises:
            AirflowApiError: as for `trigger`.
        """
        query = {"dag_id": dag_id, "run_id": run_id, "after": since.isoformat(), "included_events": _BY_HAND}
        entries = self._answer(self._request("GET", "/api/v2/eventLogs", query=query))["event_logs"]
        return next((str(entry["owner"]) for entry in entries if _changed_state(entry)), "")

    def fail_run(self, dag_id: str, run_id: str) -> None:
        """Mark a DAG run failed: Airflow ends its tasks, and lets its teardown run.

        Raises:
            AirflowApiError: as for `trigger`.
        """
        self._answer(self._request("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", {"state": "failed"}))

    def note_of_run(self, dag_id: str, run_id: str) -> str:
        """Return the note of a DAG run; "" when it has none.

        Raises:
            AirflowApiError: as for `trigger`.
        """
        return str(self._answer(self._request("GET", _run_path(dag_id, run_id)))["note"] or "")

    def set_note_of_run(self, dag_id: str, run_id: str, note: str) -> None:
        """Set the note of a DAG run.

        Raises:
            AirflowApiError: as for `trigger`.
        """
        self._accepted(self._request("PATCH", _run_path(dag_id, run_id), {"note": note}))

    def notes_of_tasks(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Return the note of every task of a DAG run, by task id; "" when it has none.

        Raises:
            AirflowApiError: as for `trigger`.
        """
        response = self._request("GET", f"{_run_path(dag_id, run_id)}/taskInstances")
        return {task["task_id"]: task["note"] or "" for task in self._answer(response)["task_instances"]}

    def set_note_of_task(self, dag_id: str, run_id: str, task: str, note: str) -> None:
        """Set the note of the newest try of a task.

        Raises:
            AirflowApiError: as for `trigger`.
        """
        self._accepted(self._request("PATCH", f"{_run_path(dag_id, run_id)}/taskInstances/{task}", {"note": note}))

    def newest_run(self, dag_id: str) -> str:
        """Return the id of a DAG's newest run; "" when it has none.

        Raises:
            AirflowApiError: as for `trigger`.
        """
        path = f"/api/v2/dags/{dag_id}/dagRuns"
        found = self._answer(self._request("GET", path, query={"order_by": "-run_after", "limit": 1}))["dag_runs"]
        return str(found[0]["dag_run_id"]) if found else ""

    def runs_ended_before(self, dag_id: str, when: datetime) -> list[str]:
        """Return the ids of a DAG's runs that ended before a time, the oldest first.

        Raises:
            AirflowApiError: as for `trigger`.
        """
        return self._run_ids(dag_id, {"state": ["success", "failed"], "end_date_lt": when.isoformat()})

    def runs_across(self, dag_id: str, when: datetime) -> list[str]:
        """Return the ids of a DAG's runs that began before a time and had not ended at it.

        Raises:
            AirflowApiError: as for `trigger`.
        """
        return self._run_ids(dag_id, {"start_date_lt": when.isoformat(), "end_date_gte": when.isoformat()})

    def delete_run(self, dag_id: str, run_id: str) -> bool:
        """Delete a DAG run that has ended. Returns whether it is there no more; one that runs again stays.

        Raises:
            AirflowApiError: as for `trigger`.
        """
        response = self._request("DELETE", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}")
        if response.status_code == httpx.codes.CONFLICT:
            return False
        if response.status_code != httpx.codes.NOT_FOUND:
            self._accepted(response)
        return True

    def _run_ids(self, dag_id: str, query: dict[str, Any]) -> list[str]:
        ids: list[str] = []
        while True:
            page = {**query, "order_by": "id", "limit": _PAGE, "offset": len(ids)}
            found = self._answer(self._request("GET", f"/api/v2/dags/{dag_id}/dagRuns", query=page))["dag_runs"]
            ids += [str(run["dag_run_id"]) for run in found]
            if not found:
                return ids

    def _answer(self, response: httpx.Response) -> dict[str, Any]:
        answer: dict[str, Any] = self._accepted(response).json()
        return answer

    @staticmethod
    def _accepted(response: httpx.Response) -> httpx.Response:
        if response.is_error:
            asked = f"{response.request.method} {response.request.url.path}"
            msg = f"Airflow answered {response.status_code} to {asked}: {response.text[:300]}"
            raise AirflowRefused(msg)
        return response

    def _request(
        self, method: str, path: str, body: dict[str, Any] | None = None, query: dict[str, Any] | None = None
    ) -> httpx.Response:
        try:
            self._log_in()
            response = self._client.request(method, path, json=body, params=query)
        except httpx.HTTPError as error:
            msg = f"Airflow at {self._url} does not answer: {error}"
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


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"


def _changed_state(entry: dict[str, Any]) -> bool:
    """Tell whether an entry of the audit log is of a changed state: what was sent with it stands in its `extra`."""
    sent = json.loads(entry["extra"] or "{}")
    return "note" not in sent or "state" in sent or "new_state" in sent
