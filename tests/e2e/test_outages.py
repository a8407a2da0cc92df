"""The bus or the database is away for a while: an operator sees it, and afterwards everything goes on by itself."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from ci_pipeline import audit, stack
from ci_pipeline.cli.app import app
from ci_pipeline.settings import Settings
from ci_pipeline.stack import components
from ci_pipeline.stack.handle import locate
from ci_pipeline.stack.supervisor import Supervisor
from ci_pipeline.store import outbox
from ci_pipeline.store.tables import Run
from tests.distgit import DistGit
from tests.e2e.conftest import Bus, wait_until
from tests.e2e.kills.test_kills import QUICK, SAID
from tests.e2e.test_a_change import push, run_of


@contextlib.contextmanager
def away(component: str, pipeline: Settings) -> Iterator[None]:
    """Stop a server for the block, in good order, as an upgrade does."""
    manager = Supervisor(locate(pipeline.state))
    manager.stop_programs([component], 40)
    try:
        yield
    finally:
        manager.start_program(component)


def status() -> dict[str, object]:
    """Return what `ci-pipeline status` says."""
    shown = CliRunner().invoke(app, ["status", "--json"])
    assert shown.exit_code == 1, "something is away, and the exit status says nothing of it"
    return json.loads(shown.stdout)


def component_of(found: dict[str, object], name: str) -> dict[str, object]:
    """Return what a status says of a component."""
    return next(one for one in found["components"] if one["name"] == name)


@pytest.fixture
def building(bus: Bus, recorded: Path, distgit: DistGit) -> Run:
    """A run that is being built, and soon ends UNSTABLE by itself."""
    rev = distgit.commit("greeter", QUICK)
    push(bus, recorded, "greeter", rev)
    bus.wait_for("package.running", rev)
    return run_of(rev)


def announced_to_its_end(bus: Bus, run: Run, pipeline: Settings) -> list[str]:
    """Wait until all is over and well again; return the ids of what the run said, in order."""

    def ended(session: Session) -> list[str] | None:
        rows = outbox.messages(session, run=run.id, contract=outbox.OURS)
        done = rows[-1].event == "complete" and all(row.published_at for row in rows)
        return [str(row.id) for row in rows] if done else None

    said: list[str] = wait_until(ended, seconds=240, what="the end of the run")
    bus.wait_for("complete", run.rev, seconds=60)
    wait_until(lambda _: stack.status(state=pipeline.state).healthy, seconds=120, what="a healthy stack")
    return said


def test_without_the_bus_work_goes_on_and_is_announced_afterwards(bus: Bus, building: Run, pipeline: Settings) -> None:
    """The run ends while the broker is away; every message goes out once it is back, in order."""
    with away("rabbitmq", pipeline):
        wait_until(lambda _: run_of(building.rev).status, seconds=120, what="the end of the run")
        found = status()
    announced = announced_to_its_end(bus, building, pipeline)

    assert component_of(found, "rabbitmq")["state"] == "stopped"
    assert found["work"]["unpublished"] > 0
    assert run_of(building.rev).status == "UNSTABLE"
    assert [message["topic"].split(".ci.pipeline.")[1] for message in bus.of(building.rev)] == SAID
    assert [message["id"] for message in bus.of(building.rev)] == announced


def test_without_the_database_work_waits(bus: Bus, building: Run, pipeline: Settings) -> None:
    """Airflow's components end without it, some sooner, some later, and the scheduler's tasks with the scheduler.

    All of them come back, and what had not ended runs again.
    """
    manager = Supervisor(locate(pipeline.state))

    def starts() -> set[int]:
        return {info.started_at for name, info in manager.processes().items() if name in components.AIRFLOW}

    before = starts()
    with away("postgres", pipeline):
        wait_until(lambda _: starts() - before, seconds=120, what="a component that ended and was started again")
        found = status()
    announced = announced_to_its_end(bus, building, pipeline)

    assert component_of(found, "postgres")["state"] == "stopped"
    assert "does not answer" in found["work"]["problems"][0]
    assert run_of(building.rev).status == "UNSTABLE"
    assert [message["id"] for message in bus.of(building.rev)] == announced
    assert not audit.audit().findings
