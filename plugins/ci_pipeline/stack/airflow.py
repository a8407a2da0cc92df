"""Airflow in the stack: its components, its schema, and its REST API for pools, pausing and health."""

import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from ci_pipeline.errors import StackError
from ci_pipeline.stack import environment, successor
from ci_pipeline.stack.components import Program
from ci_pipeline.stack.layout import Layout
from ci_pipeline.stack.ports import answers

_MIGRATE_SECONDS: Final = 300
_DAG_SECONDS: Final = 90
_POLL_SECONDS: Final = 0.25
_COMMANDS: Final = {
    "api-server": ("api-server",),
    # Their log servers would listen on every address; all components read the same log folder instead.
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
# Names in /api/v2/monitor/health that differ from ours.
_HEALTH_NAMES: Final = {"dag-processor": "dag_processor"}


@dataclass(frozen=True)
class Pool:
    """An Airflow pool.

    Attributes:
        slots: tasks that may be in it at once.
        description: for the UI.
        include_deferred: deferred tasks hold their slot.
    """

    slots: int
    description: str
    include_deferred: bool = False


def programs(layout: Layout, variables: Mapping[str, str]) -> list[Program]:
    """Return how the components are run."""
    return [
        Program(
            name=name,
            command=successor.command_of((*_airflow(), *arguments)),
            folder=str(layout.project),
            environment=variables,
            start_seconds=10,
            stop_seconds=10,
        )
        for name, arguments in _COMMANDS.items()
    ]


def schema_version() -> str:
    """Return the Airflow version whose schema the metadata database needs."""
    return version("apache-airflow-core")


def migrate(layout: Layout, variables: Mapping[str, str]) -> None:
    """Bring Airflow's metadata database to the installed version's schema.

    Raises:
        StackError: it failed; names the log.
    """
    log = layout.log_of("airflow-db-migrate")
    with log.open("w") as output:
        done = subprocess.run(  # noqa: S603
            [*_airflow(), "db", "migrate"],
            env={**environment.of_process_manager(layout), **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=_MIGRATE_SECONDS,
        )
    if done.returncode:
        msg = f"Airflow's database could not be migrated; see {log}"
        raise StackError(msg)


def health(url: str) -> dict[str, str]:
    """Return the health of Airflow's components by our names: `healthy`, or what is wrong.

    An api-server that does not answer is the only entry then.
    """
    # Asked first because a client is costly to make, and `up` asks often while Airflow boots.
    if not answers(urlsplit(url).port or 0):
        return {"api-server": "does not answer"}
    try:
        # Not through a proxy, whatever the user's environment says.
        with httpx.Client(trust_env=False, timeout=5) as client:
            answer = client.get(f"{url}/api/v2/monitor/health")
            answer.raise_for_status()
            parts = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        return {"api-server": f"does not answer: {type(error).__name__}"}
    told = {name: _part(parts, _HEALTH_NAMES.get(name, name)) for name in _COMMANDS if name != "api-server"}
    database = _part(parts, "metadatabase")
    return {"api-server": database if database == "healthy" else f"metadata database {database}", **told}


class Api:
    """A logged-in client of Airflow's REST API. Use it in a `with` block."""

    def __init__(self, url: str, username: str, password: str) -> None:
        """Log in.

        Raises:
            StackError: Airflow refuses, or does not answer.
        """
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=30)
        try:
            answer = self._client.post("/auth/token", json={"username": username, "password": password})
        except httpx.HTTPError as error:
            self._client.close()
            msg = f"Airflow at {url} does not answer: {error}; see its api-server log"
            raise StackError(msg) from error
        if not answer.is_success:
            self._client.close()
            msg = f"Airflow at {url} refuses the stack's own account ({answer.status_code}); see its api-server log"
            raise StackError(msg)
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._client.close()

    def ensure_pools(self, pools: Mapping[str, Pool]) -> None:
        """Create or correct pools, then read them back: a task of a missing pool waits for ever without a word.

        Raises:
            StackError: a pool is not what it should be.
        """
        for name, pool in pools.items():
            wanted = {"name": name, "slots": pool.slots, "description": pool.description}
            wanted["include_deferred"] = pool.include_deferred
            if self._client.get(f"/api/v2/pools/{name}").status_code == httpx.codes.NOT_FOUND:
                self._expect(self._client.post("/api/v2/pools", json=wanted), f"create the pool {name}")
            else:
                self._expect(self._client.patch(f"/api/v2/pools/{name}", json=wanted), f"change the pool {name}")
            found = self._expect(self._client.get(f"/api/v2/pools/{name}"), f"read the pool {name}")
            if any(found[key] != value for key, value in wanted.items()):
                msg = f"Airflow's pool {name} is {found}, not {wanted}; correct it in the UI under Admin, Pools"
                raise StackError(msg)

    def unpause(self, dags: Iterable[str]) -> None:
        """Unpause DAGs, waiting until they are parsed.

        Raises:
            StackError: one is not there in time; says what Airflow could not import.
        """
        deadline = time.monotonic() + _DAG_SECONDS
        for dag in dags:
            while not self._try_unpause(dag):
                if time.monotonic() > deadline:
                    msg = f"Airflow knows no DAG {dag}; {self._import_errors()}"
                    raise StackError(msg)
                time.sleep(_POLL_SECONDS)

    def _try_unpause(self, dag: str) -> bool:
        answer = self._client.patch(f"/api/v2/dags/{dag}", json={"is_paused": False})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return False
        self._expect(answer, f"unpause the DAG {dag}")
        return True

    def _import_errors(self) -> str:
        found = self._expect(self._client.get("/api/v2/importErrors"), "list import errors")["import_errors"]
        told = [f"{one['filename']}: {one['stack_trace'].strip().splitlines()[-1]}" for one in found]
        return "; ".join(told) or "no file of dags/ failed to import, so look whether one makes it"

    def _expect(self, answer: httpx.Response, what: str) -> dict[str, Any]:
        if not answer.is_success:
            msg = f"Airflow would not {what}: {answer.status_code} {answer.text[:200]}"
            raise StackError(msg)
        return dict(answer.json())


def _airflow() -> tuple[str, ...]:
    return (sys.executable, "-m", "airflow")


def _part(parts: Mapping[str, Any], name: str) -> str:
    part = parts.get(name) or {}
    return str(part.get("status") or "has not reported yet")
