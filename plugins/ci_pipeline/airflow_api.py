"""Airflow's REST API, as far as the pipeline needs it: starting the DAG run of a queued change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from ci_pipeline.errors import AirflowRefused, AirflowUnreachable

if TYPE_CHECKING:
    from ci_pipeline.settings import Airflow

_CREATED_OR_THERE: Final = (200, 409)


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

    def _request(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            self._log_in()
            response = self._client.request(method, path, json=body)
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
