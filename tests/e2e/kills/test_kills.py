"""A component is killed while a change goes through: it comes back, and the change is announced to its end, once."""

import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import select

from ci_pipeline import audit, stack, store
from ci_pipeline.settings import Settings
from ci_pipeline.store import outbox, runs
from ci_pipeline.store.tables import Run
from tests.distgit import DistGit, package
from tests.e2e.conftest import Bus, wait_until
from tests.e2e.test_a_change import EVENTS, push

# Builds, fails its one functional test and stops there: all of the machinery, little of the tools.
QUICK = package("greeter", "3.0", check="sleep 3", run="'false'")
SAID = [*EVENTS[:6], "complete"]


def pid_of(component: str, state: Path) -> int:
    """Return the process of a component of the stack."""
    return next(one.pid for one in stack.status(state=state).components if one.name == component and one.pid)


@pytest.mark.parametrize("component", ["rabbitmq", "postgres", "scheduler", "triggerer", "dag-processor", "api-server"])
def test_a_killed_component_loses_nothing(
    bus: Bus, recorded: Path, distgit: DistGit, pipeline: Settings, component: str
) -> None:
    """Whatever is killed, every event of the run is said, and the run ends as it would have."""
    rev = distgit.commit("greeter", QUICK)
    push(bus, recorded, "greeter", rev)

    def building(_: object) -> bool:
        with store.session() as session:
            run = session.scalar(select(Run).where(Run.rev == rev))
            return bool(run and runs.latest_results(session, run.id))

    wait_until(building, seconds=60, what="the build")
    os.kill(pid_of(component, pipeline.state), signal.SIGKILL)

    def ended(_: object) -> Run | None:
        with store.session() as session:
            run = session.scalar(select(Run).where(Run.rev == rev, Run.status.is_not(None)))
            done = run and all(row.published_at for row in outbox.messages(session, run=run.id))
            return run if done else None

    run = wait_until(ended, seconds=240, what=f"the end of the run after the {component} was killed")
    wait_until(lambda _: stack.status(state=pipeline.state).healthy, seconds=120, what="a healthy stack")
    with store.session() as session:
        said = [row.event for row in outbox.messages(session, run=run.id, contract=outbox.OURS)]

    assert run.status == "UNSTABLE"
    # A stage whose end Airflow did not learn of runs again, and says so: in pairs, which the audit checks.
    assert [event for event in SAID if event not in said] == []
    assert said[-1] == "complete"
    assert said.count("complete") == 1
    assert not audit.audit().findings
