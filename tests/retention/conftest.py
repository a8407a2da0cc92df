"""A pipeline's folders with things in them, rows of runs that ended when a test says, and an Airflow that answers."""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from ci_pipeline import retention, store
from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.retention import airflow_runs
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Image, Run
from tests.makers import COMPOSE_REV, new_run

SIZE = 10_000


@dataclass
class Place:
    """The folders of a pipeline that keeps things for 14 days."""

    settings: Settings
    root: Path

    @property
    def runs(self) -> Path:
        """The folder of workspaces."""
        return self.root / "state" / "runs" / "ci-pipeline-f26"

    @property
    def logs(self) -> Path:
        """Airflow's logs of the branch."""
        return self.root / "logs" / "dag_id=ci-pipeline-f26"

    @property
    def branch(self) -> Path:
        """What is published of the branch."""
        return self.root / "artifacts" / "fedora-atomic" / "f26"

    @property
    def builds(self) -> Path:
        """The runs' own repositories."""
        return self.branch / "repo" / "builds"

    @property
    def images(self) -> Path:
        """The images."""
        return self.branch / "images"

    def keeping(self, **keys: float) -> "Place":
        """Return the same place with other settings of [retention]."""
        section = type(self.settings.retention).model_validate({**self.settings.retention.model_dump(), **keys})
        return Place(self.settings.model_copy(update={"retention": section}), self.root)

    def prune(self, *, dry_run: bool = False) -> retention.Pruned:
        """Run a pass."""
        return retention.prune(self.settings, dry_run=dry_run)

    def gone(self) -> list[str]:
        """Run a pass in which all goes well; return kind and last part of what it removed."""
        done = self.prune()

        assert done.warnings == ()
        return sorted(f"{one.kind} {one.what.rpartition('/')[2]}" for one in done.removed)

    def with_files(self, run: Run) -> Run:
        """Give a run a workspace, logs and a build."""
        write(self.runs / run.run_id / "build_package-1" / "build.log")
        write(self.logs / f"run_id={run.run_id}" / "task_id=build_package" / "attempt=1.log")
        write(self.builds / run.run_id / "greeter.rpm")
        return run

    def left(self) -> set[str]:
        """Return every path there is, relative to the place."""
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}


@pytest.fixture
def place(current: Settings, tmp_path: Path, airflow: "FakeAirflow") -> Place:
    """A place of the test's own."""
    root = tmp_path / "place"
    root.mkdir()
    update = {
        "state": root / "state",
        "artifacts": current.artifacts.model_copy(update={"folder": root / "artifacts"}),
        "airflow": current.airflow.model_copy(update={"logs": str(root / "logs")}),
    }
    return Place(current.model_copy(update=update), root)


def write(path: Path, size: int = SIZE) -> Path:
    """Write a file of a size, and the folders on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def age(path: Path, **ago: float) -> Path:
    """Make a file or folder look as if it was last changed so long ago."""
    then = (datetime.now(UTC) - timedelta(**ago)).timestamp()
    os.utime(path, (then, then), follow_symlinks=False)
    return path


def ended(run: Run, *, days: float = 30, status: str = "SUCCESS") -> Run:
    """Let a run have ended so long ago."""
    with store.session() as session:
        row = runs.locked(session, run.id)
        row.status, row.ended_at = status, datetime.now(UTC) - timedelta(days=days)
    return run


def old_run(repo: str = "greeter", *, days: float = 30, **fields: str) -> Run:
    """Store a run that ended so long ago."""
    return ended(new_run(repo, **fields), days=days)


def going_on(run: Run) -> Run:
    """Let a run have been fired and have no end."""
    with store.session() as session:
        runs.mark_fired(session, run.id)
    return run


def add_image(run: Run, name: str, *, booted_days_ago: float | None, compose_rev: str = COMPOSE_REV) -> None:
    """Store an image of a run; None: it never booted."""
    now = datetime.now(UTC)
    passed = None if booted_days_ago is None else now - timedelta(days=booted_days_ago)
    row = {"name": name, "compose_rev": compose_rev, "version": "26.1", "sha256": "0" * 64, "size": SIZE}
    with store.session() as session:
        session.add(Image(run_id=run.id, branch=run.branch, generated_at=now, smoke_passed_at=passed, **row))


def row_of(run: Run) -> Run:
    """Return a run as the database has it now."""
    with store.session() as session:
        return runs.locked(session, run.id)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is nobody's business, with a file in it."""
    age(write(tmp_path / "outside" / "precious").parent, days=90)
    return tmp_path / "outside"


@dataclass
class FakeAirflow:
    """An api-server with runs: `(dag, run id) -> (state, began, ended)`, in hours ago; ended None: not yet."""

    runs: dict[tuple[str, str], tuple[str, float, float | None]] = field(default_factory=dict)
    away: bool = False
    asked: list[str] = field(default_factory=list)

    def add(self, dag: str, run_id: str, *, began: float, ended: float | None, state: str = "success") -> None:
        """Add a run."""
        self.runs[dag, run_id] = (state, began, ended)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer as the api-server does."""
        if self.away:
            raise httpx.ConnectError("refused")
        self.asked.append(f"{request.method} {request.url.path}")
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        _, _, _, _, dag, _, *run = request.url.path.split("/")
        if request.method == "DELETE":
            return self._delete((dag, run[0]))
        found = self._listed(dag, request.url.params)
        return httpx.Response(200, json={"dag_runs": [{"dag_run_id": run_id} for run_id in found]})

    def _delete(self, key: tuple[str, str]) -> httpx.Response:
        if key not in self.runs:
            return httpx.Response(404)
        if self.runs[key][0] not in {"success", "failed"}:
            return httpx.Response(409)
        del self.runs[key]
        return httpx.Response(204)

    def _listed(self, dag: str, query: httpx.QueryParams) -> list[str]:
        rows = sorted(
            (began, run_id, state, end) for (of, run_id), (state, began, end) in self.runs.items() if of == dag
        )
        states, start = query.get_list("state"), int(query.get("offset", 0))
        found = [
            run_id
            for began, run_id, state, end in rows
            if (not states or state in states)
            and ("end_date_lt" not in query or (end is not None and end > _hours(query["end_date_lt"])))
            and ("end_date_gte" not in query or end is None or end <= _hours(query["end_date_gte"]))
            and ("start_date_lt" not in query or began > _hours(query["start_date_lt"]))
        ]
        # The real one gives 100 at most, whatever is asked for.
        found = found if query["order_by"].startswith("-") else found[::-1]
        return found[start : start + min(int(query["limit"]), 100)]


def _hours(when: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(when)).total_seconds() / 3600


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> FakeAirflow:
    """The Airflow that retention talks to."""
    fake = FakeAirflow()
    transport = httpx.MockTransport(fake.handle)
    monkeypatch.setattr(airflow_runs, "AirflowApi", lambda to: AirflowApi(to, transport=transport))
    return fake
