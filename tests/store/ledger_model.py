"""What the ledger must hold, kept in plain Python: a model that knows nothing of tables, locks and transactions."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from ci_pipeline.change import Change
from ci_pipeline.outcome import Status
from ci_pipeline.store.ledger import Received

MONITORED: Final = ("greeter", "hostinfo")
WITH_PIPELINE: Final = ("f26", "rawhide")
DELETED: Final = "0" * 40


@dataclass(frozen=True, slots=True)
class Sent:
    """A message, and the change it tells of; None of garbage."""

    received: Received
    change: Change | None

    @property
    def is_kept_whole(self) -> bool:
        """Tell whether a database can hold it as text, byte for byte."""
        try:
            return "\x00" not in self.received.raw.decode()
        except UnicodeDecodeError:
            return False


@dataclass(slots=True)
class ExpectedRun:
    """A run. `tries` are those of its first stage; None is one that goes on. `told` is what the newest reported."""

    change: Change
    number: int
    fired: bool = False
    status: Status | None = None
    tries: list[Status | None] = field(default_factory=list)
    told: tuple[Status, bool] | None = None
    came_too_late: bool = False
    said: list[str] = field(default_factory=list)

    @property
    def is_running(self) -> bool:
        """Tell whether a try goes on."""
        return bool(self.tries) and self.tries[-1] is None

    @property
    def is_open(self) -> bool:
        """Tell whether the world thinks that the first stage is running."""
        return self.said.count("package.running") > self.said.count("package.complete")

    def begin(self) -> None:
        """Begin a new try. A run that has ended goes on again; one that was lost has failed."""
        self.tries = [status or Status.FAILURE for status in self.tries] + [None]
        self.status = self.told = None
        if not self.is_open:
            self.said.append("package.running")

    def finish_try(self, status: Status, *, final: bool) -> None:
        """End the try that goes on."""
        self.tries[-1], self.told = status, (status, final)
        if final:
            self.said.append("package.complete")
            if status is Status.SUCCESS and "package.test.functional.queued" not in self.said:
                self.said.append("package.test.functional.queued")

    def finish(self) -> None:
        """End the run, unless it has ended. Only a failed build is an end of its own: after it nothing is missing."""
        if self.status is None:
            if self.is_open:
                self.said.append("package.complete")
            failed = bool(self.tries) and self.tries[-1] is Status.FAILURE
            self.tries = [status or Status.ABORTED for status in self.tries]
            self.end(Status.FAILURE if failed else Status.ABORTED)

    def end(self, status: Status) -> None:
        """Say `complete`."""
        self.status = status
        self.said.append("complete")


@dataclass(slots=True, eq=False)
class ExpectedRow:
    """A row of the ledger. `because` is the row its reason names."""

    sent: Sent
    state: str = "dead"
    because: "ExpectedRow | None" = None
    run: ExpectedRun | None = None

    @property
    def change(self) -> Change | None:
        """The change, if the message could be read."""
        return None if self.state == "dead" else self.sent.change


class Model:
    """The ledger and the runs, in the order they came to be."""

    def __init__(self) -> None:
        self.rows: list[ExpectedRow] = []
        self.runs: list[ExpectedRun] = []

    def take_up(self, batch: Iterable[Sent]) -> None:
        """Take up messages in one transaction: all are decided, then all are announced."""
        new = [self._record(sent) for sent in batch]
        for row in new:
            self._announce(row)

    def misread(self, batch: Iterable[Sent]) -> None:
        """Take up messages that no reader of today knows."""
        self.rows += [ExpectedRow(sent) for sent in batch]

    def replay(self, row: ExpectedRow) -> None:
        """Read a dead letter again."""
        self._decide(row)
        self._announce(row)

    def dead(self) -> list[ExpectedRow]:
        """Return the dead letters."""
        return [row for row in self.rows if row.state == "dead"]

    def waiting(self) -> list[ExpectedRun]:
        """Return the runs that Airflow is to be told of."""
        return [run for run in self.runs if not run.fired and run.status is None]

    def _record(self, sent: Sent) -> ExpectedRow:
        row = ExpectedRow(sent)
        self._decide(row)
        self.rows.append(row)
        return row

    def _decide(self, row: ExpectedRow) -> None:
        change = row.sent.change
        if change is None:
            return
        if change.repo not in MONITORED or change.branch not in WITH_PIPELINE or change.rev == DELETED:
            row.state = "ignored"
        elif first := next((other for other in self.rows if _has_queued(other, change)), None):
            row.state, row.because, row.run = "duplicate", first, first.run
        else:
            row.state, row.run = "queued", self._new_run(change)

    def _new_run(self, change: Change) -> ExpectedRun:
        before = sum(run.change.branch == change.branch for run in self.runs)
        self.runs.append(ExpectedRun(change, before + 1))
        return self.runs[-1]

    def _announce(self, row: ExpectedRow) -> None:
        if row.state != "queued" or row.run is None:
            return
        for older in self.rows[: self.rows.index(row)]:
            if _gives_way(older, row.run.change):
                older.state, older.because = "superseded", row
                older.run.end(Status.ABORTED)
        row.run.said.append("package.queued")


def _has_queued(row: ExpectedRow, change: Change) -> bool:
    return row.change == change and row.state in {"queued", "superseded"}


def _gives_way(row: ExpectedRow, newer: Change) -> bool:
    if row.state != "queued" or row.run.tries or row.run.status:
        return False
    return (row.change.repo, row.change.branch) == (newer.repo, newer.branch)
