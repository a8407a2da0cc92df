"""Everything is killed, in an order and at moments that are drawn, while changes go through: nothing is lost.

`make chaos ROUNDS=10` does it for longer; `pytest tests/e2e/test_chaos.py --chaos-seed=N` repeats what was drawn.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest
from sqlalchemy.orm import Session

from ci_pipeline import audit, stack, store
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.store import outbox, runs
from ci_pipeline.store.tables import Run
from tests.distgit import DistGit
from tests.e2e.chaos import VICTIMS, Chaos, Push, run_of
from tests.e2e.conftest import Bus, wait_until
from tests.e2e.test_a_change import push

# How many changes go through at once.
AT_ONCE = 2
SETTLE_SECONDS = 400
OUR_ABORTS = ("superseded by ", "compose_ostree: overtaken by ")
PUSH_SECONDS = 120
FIND_SECONDS = 180


@pytest.fixture(scope="module")
def chaos(pytestconfig: pytest.Config, pipeline: Settings, distgit: DistGit) -> Chaos:
    """What is drawn."""
    return Chaos(pytestconfig.getoption("--chaos-seed"), pipeline, distgit)


@pytest.fixture(autouse=True)
def _told(chaos: Chaos, record_property: Callable[[str, object], None]) -> Iterator[None]:
    """What it came to, for the end of the session."""
    yield
    record_property("chaos", "\n".join(chaos.table()))


def publish(bus: Bus, recorded: Path, pushed: Push) -> None:
    """Announce a push; while the broker is away, as dist-git's hook does: again and again."""
    end = time.monotonic() + PUSH_SECONDS
    while True:
        try:
            return push(bus, recorded, pushed.story.repo, pushed.rev, pushed.story.branch)
        except pika.exceptions.AMQPError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def keep_busy(chaos: Chaos, bus: Bus, recorded: Path) -> None:
    """Push until enough changes go through, as soon as the database tells how many do."""

    def enough(_: Session) -> bool:
        while sum(not is_over(one) for one in chaos.pushes) < AT_ONCE:
            publish(bus, recorded, chaos.commit())
        return True

    wait_until(enough, seconds=PUSH_SECONDS, what="the database")


def kill(chaos: Chaos, victim: str, bus: Bus, recorded: Path) -> None:
    """Kill one while changes go through, as soon as it is there: it may have to recover from an earlier kill."""
    end = time.monotonic() + FIND_SECONDS
    while not chaos.kill(victim):
        assert time.monotonic() < end, f"no {victim} to kill for {FIND_SECONDS} s"

        keep_busy(chaos, bus, recorded)
        time.sleep(0.1)


def is_over(pushed: Push) -> bool:
    """Tell whether a change's run has ended."""
    run = run_of(pushed.rev)
    return run is not None and run.status is not None


def settled(chaos: Chaos) -> list[Run]:
    """Wait until every change has its run, every run its end, and every message is out; return the runs."""

    def over(session: Session) -> list[Run] | None:
        waiting, _ = outbox.pending(session)
        if waiting or not all(map(is_over, chaos.pushes)):
            return None
        return [run for one in chaos.pushes if (run := run_of(one.rev))]

    return wait_until(over, seconds=SETTLE_SECONDS, what="the end of every run")


def as_expected(pushed: Push, run: Run) -> bool:
    """Tell whether a run ended as its change deserves, or for a reason that is ours and says so."""
    if run.status == pushed.story.status:
        return True
    if run.status == Status.ABORTED and run.reason.startswith(OUR_ABORTS):
        return True
    with store.session() as session:
        last = list(runs.latest_results(session, run.id).values())[-1]
        if run.status == Status.ABORTED:
            # All tries of a step were killed, one of them before it had begun.
            return run.reason.startswith("the run ended before ") and last.try_number > 1
        return (run.status, last.fault) == (Status.FAILURE, Fault.INFRASTRUCTURE)


def heard(bus: Bus, run: Run) -> list[str]:
    """Return the ids of a run's messages in the order they arrived in."""
    return [message["id"] for message in bus.of(run.rev)]


def test_nothing_is_lost_whoever_is_killed(
    bus: Bus, recorded: Path, chaos: Chaos, pipeline: Settings, chaos_round: int
) -> None:
    """One round: everyone is killed once, changes go through meanwhile, and everything comes to its end."""
    first = len(chaos.kills)
    for victim in chaos.victims():
        keep_busy(chaos, bus, recorded)
        chaos.pause()
        kill(chaos, victim, bus, recorded)
    chaos.ended = ended = settled(chaos)
    wait_until(lambda _: stack.status(state=pipeline.state).healthy, seconds=180, what="a healthy stack")

    assert sorted(kill.victim for kill in chaos.kills[first:]) == sorted(VICTIMS)
    assert [run.reason for one, run in zip(chaos.pushes, ended, strict=True) if not as_expected(one, run)] == []
    assert audit.audit().findings == ()

    for run in ended:
        bus.wait_for("complete", run.rev, seconds=60)
        with store.session() as session:
            said = [str(row.id) for row in outbox.messages(session, run=run.id, contract=outbox.OURS)]

        assert heard(bus, run) == said, run.run_id
