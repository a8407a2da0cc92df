"""Killing parts of a pipeline at work: who is killed when, and what was going on then."""

import collections
import contextlib
import itertools
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import select

from ci_pipeline import process_table, stack, store
from ci_pipeline.errors import DatabaseUnreachable, StackError
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Run
from tests.distgit import DistGit, package

TASK = "task process"
COMPONENTS = ("scheduler", "triggerer", "dag-processor", "api-server", "rabbitmq", "postgres")
VICTIMS = (*COMPONENTS, TASK)
NOTHING = ("nothing",)
UNKNOWN = ("unknown",)
# Most kills hit a stage at work, some seconds into it; the others hit whatever the last kill has left.
AT_WORK = 0.8
PAUSE_SECONDS = (0.0, 8.0)
_WORK_SECONDS = 120


@dataclass(frozen=True)
class Story:
    """A kind of change, and how its run ends when nobody disturbs it for good."""

    repo: str
    branch: str
    files: dict[str, str] = field(repr=False)
    status: Status


@dataclass(frozen=True)
class Push:
    """A change that was pushed."""

    story: Story
    rev: str


@dataclass(frozen=True)
class Kill:
    """What was killed, and which stages were going on: `build_package`, or `nothing` between two stages."""

    victim: str
    during: tuple[str, ...]

    def __str__(self) -> str:
        """What a log says of it."""
        return f"{self.victim} during {', '.join(self.during)}"


class Chaos:
    """A source of pushes and kills. The same seed draws the same ones; what they meet is up to the machine.

    Args:
        seed: of all that is drawn.
    """

    def __init__(self, seed: int, pipeline: Settings, distgit: DistGit) -> None:
        """Begin with nothing pushed and nobody killed."""
        self.random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.pushes: list[Push] = []
        self.kills: list[Kill] = []
        self.ended: list[Run] = []
        self._pipeline = pipeline
        self._distgit = distgit
        self._versions = itertools.count(1)

    def commit(self) -> Push:
        """Commit a change of a kind that is drawn."""
        story = self.random.choice(stories(f"9.{next(self._versions)}"))
        pushed = Push(story, self._distgit.commit(story.repo, story.files, branch=story.branch))
        self.pushes.append(pushed)
        return pushed

    def victims(self) -> list[str]:
        """Return everyone who can be killed, in an order that is drawn."""
        return self.random.sample(VICTIMS, len(VICTIMS))

    def pause(self) -> None:
        """Let the pipeline work for a time that is drawn, mostly from when it carries out a stage."""
        end = time.monotonic() + (_WORK_SECONDS if self.random.random() < AT_WORK else 0)
        while stages_going_on() in {NOTHING, UNKNOWN} and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(self.random.uniform(*PAUSE_SECONDS))

    def kill(self, victim: str) -> bool:
        """Kill one as `kill -9` does, and note what went on. Return whether it was there to be killed."""
        during = stages_going_on()
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if (pid := self._pid_of(victim)) is not None:
                os.kill(pid, signal.SIGKILL)
                self.kills.append(Kill(victim, during))
                return True
        return False

    def table(self) -> Iterator[str]:
        """Yield what was killed how often, and during which stages, and how the runs ended, line by line."""
        yield f"{'killed':<15}{'times':>6}  during"
        for victim in VICTIMS:
            steps = collections.Counter(stage for kill in self.kills if kill.victim == victim for stage in kill.during)
            times = sum(kill.victim == victim for kill in self.kills)
            yield f"{victim:<15}{times:>6}  {_counted(steps)}"
        statuses = collections.Counter(run.status or "going on" for run in self.ended)
        yield f"{len(self.ended)} runs: {_counted(statuses)}"

    def _pid_of(self, victim: str) -> int | None:
        if victim == TASK:
            tasks = list(task_processes(self._pipeline.state))
            return self.random.choice(tasks).pid if tasks else None
        with contextlib.suppress(StackError):
            components = stack.status(state=self._pipeline.state).components
            return next((one.pid for one in components if one.name == victim), None)
        return None


def _counted(what: collections.Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in what.most_common())


def stories(version: str) -> list[Story]:
    """Return the kinds of changes. Each version is new, so that no change is a duplicate of another."""
    unstable = package("greeter", version, check="sleep 2", run="'false'")
    failing = package("hostinfo", version, check="sleep 2; exit 1")
    return [
        # Not on f26: other tests follow the first good change of that branch.
        Story("greeter", "rawhide", package("greeter", version), Status.SUCCESS),
        Story("greeter", "f26", unstable, Status.UNSTABLE),
        Story("hostinfo", "f26", failing, Status.FAILURE),
    ]


def stages_going_on() -> tuple[str, ...]:
    """Return the stages that have begun and not ended, of all runs; `unknown` while the database is away."""
    try:
        with store.session() as session:
            going_on = runs.going_on(session)
            tries = [result for run in going_on for result in runs.latest_results(session, run.id).values()]
            return tuple(sorted({result.stage for result in tries if result.status is None})) or NOTHING
    except DatabaseUnreachable:
        return UNKNOWN


def task_processes(state: Path) -> Iterator[psutil.Process]:
    """Yield the processes of tasks that carry a stage out: the parents of the playbooks of a state folder."""
    for process in process_table.everyone():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if any(word.startswith(f"@{state}/runs/") for word in words) and os.getpgid(process.pid) == process.pid:
                parent = process.parent()
                if parent is not None:
                    yield parent


def run_of(rev: str) -> Run | None:
    """Return the run of a revision, if it has one."""
    with store.session() as session:
        return session.scalar(select(Run).where(Run.rev == rev))
