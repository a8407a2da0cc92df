"""The trace of a change as plain data: from the message to the decision, the stages, the results, and what is next."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from ci_pipeline.change import Change
from ci_pipeline.datahub import model
from ci_pipeline.insight.gates import Gating
from ci_pipeline.insight.keys import Subject
from ci_pipeline.insight.verdict import Verdict
from ci_pipeline.outcome import TestOutcome, has_failed
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Inbound, Run


@dataclass(frozen=True, slots=True)
class Message:
    """A message that arrived, and what was decided. `body` is what is kept of it, cut; hostile."""

    number: int
    message_id: str
    topic: str
    state: str
    reason: str
    agent: str
    received_at: datetime
    body: str


@dataclass(frozen=True, slots=True)
class Try:
    """A try of a stage.

    Attributes:
        try_number: Airflow's, from 1; 0 when an earlier stage made this one pointless.
        status: None while it runs.
        fault: whose fault a FAILURE is.
        seconds: wall time so far.
        tool_seconds: the part of it spent in the tools themselves.
        reused_from: the run whose output it took, `f26/464`; "" if it made its own.
        outputs: what it made known; docs/stage-contract.md lists them.
        tests: number of its tests, by outcome.
        current: whether it counts: no newer try of it, or of a stage before it, took its place.
    """

    id: int
    stage: str
    try_number: int
    status: str | None
    reason: str
    fault: str
    started_at: datetime
    ended_at: datetime | None
    seconds: float
    tool_seconds: float
    reused_from: str
    outputs: dict[str, Any]
    tests: dict[str, int]
    current: bool


class Test(model.Test):
    """A test of a current try."""

    stage: str


class File(model.Artifact):
    """A file that a current try made."""

    stage: str


@dataclass(frozen=True, slots=True)
class Said:
    """A message of ours. It waits when it is neither published nor parked.

    One about gating has no status: `summary` is what it says; a waiver's is hostile.
    """

    id: str
    event: str
    topic: str
    status: str
    summary: str
    created_at: datetime
    published_at: datetime | None
    parked_at: datetime | None
    error: str

    @property
    def how(self) -> str:
        """`published`, `parked` or `waiting`."""
        return "published" if self.published_at else "parked" if self.parked_at else "waiting"


@dataclass(frozen=True, slots=True)
class Trace:
    """All that is known of a run, or of a message that led to none.

    Attributes:
        what: `rpms/mesa 35fdde9 f26`; of a message that names no change, `message 17`.
        key: names it for good: a run id or a message's number.
        run, dag, build_id: Airflow's run id and DAG id, and the number on the branch; "" and 0 without a run.
        nvr: the built NVR, or the one of the spec; "" while it is not known.
        pruned_at: when its files were removed, but for what is among the newest.
        tries: every try, the oldest first.
        tests: of the current tries, what failed first; not more than a page can hold.
        gating: how its package stands before the gates; None where no policy is for it.
    """

    what: str
    key: str
    verdict: Verdict
    change: Change | None
    run: str = ""
    dag: str = ""
    build_id: int = 0
    nvr: str = ""
    url: str = ""
    status: str | None = None
    reason: str = ""
    created_at: datetime | None = None
    fired_at: datetime | None = None
    ended_at: datetime | None = None
    pruned_at: datetime | None = None
    messages: tuple[Message, ...] = ()
    tries: tuple[Try, ...] = ()
    tests: tuple[Test, ...] = ()
    files: tuple[File, ...] = ()
    said: tuple[Said, ...] = ()
    gating: Gating | None = None

    @property
    def current(self) -> tuple[Try, ...]:
        """The tries that count, in pipeline order."""
        return tuple(runs.current_tries(self.tries).values())

    def older(self, stage: str) -> tuple[Try, ...]:
        """Return the tries of a stage that others took the place of, the oldest first."""
        return tuple(one for one in self.tries if one.stage == stage and not one.current)

    @property
    def outdated(self) -> tuple[Try, ...]:
        """The tries of stages that have no current one: an earlier stage runs again, and they will follow."""
        stages = {one.stage for one in self.current}
        return tuple(one for one in self.tries if one.stage not in stages)

    def count(self, outcome: str) -> int:
        """Return how many tests of the current tries had an outcome."""
        return sum(one.tests.get(outcome, 0) for one in self.current)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the things an ambiguous key may mean: its own key, what it is, and where it stands."""

    key: str
    what: str
    state: str
    when: datetime

    @classmethod
    def of(cls, subject: Subject) -> Self:
        """Return what is told of a run or a message in a list."""
        if isinstance(subject, Run):
            state = subject.status or ("running" if subject.fired_at else "queued")
            what = f"{runs.change_of(subject)}, run {subject.branch}/{subject.number}"
            return cls(f"{subject.branch}/{subject.number}", what, state, subject.created_at)
        return cls(str(subject.id), name_of(subject), subject.state, subject.received_at)


def change_of(row: Inbound) -> Change | None:
    """Return the change a message is about, if it names one."""
    fields = (row.namespace, row.repo, row.rev, row.branch)
    if not all(fields):
        return None
    return Change.parse(**dict(zip(("namespace", "repo", "rev", "branch"), fields, strict=True)))


def name_of(row: Inbound) -> str:
    """Return what a message is called: its change, or `message 17`."""
    change = change_of(row)
    return str(change) if change else f"message {row.id}"


def failed_first(tests: Iterable[Test]) -> tuple[list[Test], list[Test]]:
    """Return the tests that failed at least once, whether that counts or not, and the others."""
    failed: list[Test] = []
    others: list[Test] = []
    for test in tests:
        (failed if has_failed(TestOutcome(test.outcome)) else others).append(test)
    return failed, others
