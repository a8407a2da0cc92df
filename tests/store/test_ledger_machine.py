"""The ledger, the runs and what is said of them, through whatever sequence of messages, crashes and runs."""

from collections import Counter, defaultdict
from datetime import timedelta
from typing import Final

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import select
from sqlalchemy.orm import Session

from ci_pipeline import audit, dead_letters, settings, store
from ci_pipeline.bus import inbound
from ci_pipeline.errors import ChangeError, StoreError
from ci_pipeline.intake import Intake
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.stages import BUILD_PACKAGE, COMPLETE
from ci_pipeline.store import outbox, runs
from ci_pipeline.store.tables import Inbound, Outbox, Run, StageResult
from ci_pipeline.storm_sections import Storm
from tests.database import empty
from tests.makers import report
from tests.store.ledger_messages import BATCHES, PUSHES
from tests.store.ledger_model import ExpectedRow, ExpectedRun, Model, Sent

# When it fails, Hypothesis looks for a shorter failure for up to five minutes; a timeout would lose the report.
pytestmark = [pytest.mark.usefixtures("database"), pytest.mark.timeout(900)]

# Publishing is no part of this: nothing ever goes out, and that is no offence here.
PATIENCE: Final = timedelta(days=1)


class CrashError(Exception):
    """The intake's process dies."""


class LedgerMachine(RuleBasedStateMachine):
    """The database on one side, the model on the other; after every step they agree."""

    def __init__(self) -> None:
        super().__init__()
        # Storms have a machine of their own.
        self.settings = settings.current().model_copy(update={"storm": Storm(changes=10_000)})
        self.model = Model()
        self.unacknowledged: list[Sent] = []

    @initialize(sent=st.lists(PUSHES, min_size=3, max_size=6, unique_by=lambda sent: sent.change))
    def start(self, sent: list[Sent]) -> None:
        """There is something to work on, whatever else comes."""
        self._take_up(sent)

    @rule(sent=PUSHES)
    def push(self, sent: Sent) -> None:
        """A packager pushes."""
        self._take_up([sent])

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The bus brings a message again that is in the ledger already."""
        self._take_up([data.draw(st.sampled_from(self.model.rows), "row").sent])

    @rule(batch=BATCHES, end=st.sampled_from(["acknowledged", "dies before the commit", "dies before acknowledging"]))
    def deliver(self, batch: list[Sent], end: str) -> None:
        """A batch arrives, behind what was not acknowledged before."""
        batch = [*self.unacknowledged, *batch]
        if end == "dies before the commit":
            with pytest.raises(CrashError):
                self._take_up_and_crash(batch)
        else:
            self._take_up(batch)
        self.unacknowledged = [] if end == "acknowledged" else batch

    @rule(batch=BATCHES)
    def misread(self, batch: list[Sent]) -> None:
        """A batch arrives that only a later version can read."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inbound, "read", _refuse)
            Intake(self.settings, trigger_run_id="x").record(sent.received for sent in batch)
        self.model.misread(batch)

    @precondition(lambda self: self.model.dead())
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """An operator has a dead letter read again."""
        row = data.draw(st.sampled_from(self.model.dead()), "dead letter")
        number = str(self._numbers()[self.model.rows.index(row)])
        if row.sent.is_kept_whole:
            dead_letters.replay(self.settings, number)
            self.model.replay(row)
        else:
            with pytest.raises(StoreError, match="cannot be replayed"):
                dead_letters.replay(self.settings, number)

    @rule(at_most=st.integers(1, 3))
    def fire(self, at_most: int) -> None:
        """Airflow is told of the oldest runs that wait; those that were given up do not."""
        waiting = self.model.waiting()
        with store.session() as session:
            found = runs.not_fired(session)
            for run in found[:at_most]:
                runs.mark_fired(session, run.id)
        for run in waiting[:at_most]:
            run.fired = True

        assert [(run.branch, run.number) for run in found] == [(run.change.branch, run.number) for run in waiting]

    @precondition(lambda self: any(not run.tries for run in self.model.runs))
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """The first stage of a run begins. A run that was given up finds so and skips it, as `StageOperator` does."""
        run = data.draw(st.sampled_from([run for run in self.model.runs if not run.tries]), "run")
        with store.session() as session:
            journal, row = Journal(session, self.settings), self._row_of(session, run)
            if run.status is None:
                journal.begin_stage(row, BUILD_PACKAGE, 1)
                run.begin()
            elif not run.came_too_late:
                journal.skip_stage(row, BUILD_PACKAGE, 1, row.reason)
                run.came_too_late = True

    @precondition(lambda self: any(run.tries for run in self.model.runs))
    @rule(data=st.data(), new_try=st.booleans())
    def begin_again(self, data: st.DataObject, *, new_try: bool) -> None:
        """The first stage is tried again or cleared; or the beginning of its newest try is written down twice."""
        run = data.draw(st.sampled_from([run for run in self.model.runs if run.tries]), "run")
        if new_try:
            run.begin()
        with store.session() as session:
            Journal(session, self.settings).begin_stage(self._row_of(session, run), BUILD_PACKAGE, len(run.tries))

    @precondition(lambda self: self.model.runs)
    @rule(data=st.data(), status=st.sampled_from([Status.SUCCESS, Status.FAILURE]), final=st.booleans())
    def finish_stage(self, data: st.DataObject, status: Status, *, final: bool) -> None:
        """The first stage of a run reports, and a failed one may be tried again; a leftover may not report."""
        run, final = self._some_run(data), final or status is Status.SUCCESS
        if run.is_running:
            self._report(run, status, final=final)
            run.finish_try(status, final=final)
        else:
            with pytest.raises(StoreError, match="may not report"):
                self._report(run, status, final=final, reason="a leftover's")

    @precondition(lambda self: any(run.told for run in self.model.runs))
    @rule(data=st.data())
    def finish_stage_twice(self, data: st.DataObject) -> None:
        """A commit that was answered to nobody is done again: the very same report changes nothing."""
        run = data.draw(st.sampled_from([run for run in self.model.runs if run.told]), "run")
        status, final = run.told
        self._report(run, status, final=final)

    @precondition(lambda self: self.model.runs)
    @rule(data=st.data())
    def finish_run(self, data: st.DataObject) -> None:
        """A run ends, in whatever state; one that has ended stays as it is."""
        run = self._some_run(data)
        with store.session() as session:
            Journal(session, self.settings).finish_run(self._row_of(session, run))
        run.finish()

    @invariant()
    def every_message_has_one_row_in_one_final_state(self) -> None:
        """In the order they came, with the reason that is due and the run that is its own."""
        with store.session() as session:
            rows = list(session.scalars(select(Inbound).order_by(Inbound.id)))
            numbered = dict(session.execute(select(Run.id, Run.number)).all())
        numbers = [row.id for row in rows]
        found = [(row.state, row.rev, row.branch, row.repo, numbered.get(row.run)) for row in rows]

        assert found == [_shown(row) for row in self.model.rows]
        for row, expected in zip(rows, self.model.rows, strict=True):
            assert row.reason in self._reasons(row, expected, numbers), expected
        assert (
            max(Counter((row.repo, row.rev, row.branch) for row in rows if row.state == "queued").values(), default=1)
            == 1
        )

    @invariant()
    def every_run_is_as_far_as_it_got(self) -> None:
        """Numbered per branch without a gap; what is said of it is what happened, in order."""
        with store.session() as session:
            rows = list(session.scalars(select(Run).order_by(Run.id)))
            said = defaultdict(list)
            for message in outbox.messages(session):
                said[message.run_id].append(message.event)
        found = [(row.branch, row.number, row.rev, row.status, row.fired_at is not None) for row in rows]
        numbers = defaultdict(list)
        for row in rows:
            numbers[row.branch].append(row.number)

        assert found == [
            (run.change.branch, run.number, run.change.rev, run.status, run.fired) for run in self.model.runs
        ]
        assert [said[row.id] for row in rows] == [run.said for run in self.model.runs]
        assert all(counted == list(range(1, len(counted) + 1)) for counted in numbers.values())

    @invariant()
    def what_is_superseded_never_began_and_has_its_end(self) -> None:
        """One queued message, one run: ABORTED, with the reason of the message, and one `complete`."""
        given_up = select(Inbound.reason, Run).join(Run, Run.id == Inbound.run).where(Inbound.state == "superseded")
        not_skipped = select(StageResult.run_id).where(StageResult.status.is_distinct_from(Status.SKIPPED))
        with store.session() as session:
            found = session.execute(given_up).all()
            begun = set(session.scalars(not_skipped))
            completes = Counter(session.scalars(select(Outbox.run_id).where(Outbox.event == COMPLETE)))

        for reason, run in found:
            assert (run.status, run.reason, completes[run.id]) == ("ABORTED", reason, 1)
            assert run.id not in begun

    @invariant()
    def the_audit_finds_nothing(self) -> None:
        """It looks at the same things from another side."""
        assert audit.audit(patience=PATIENCE).findings == ()

    def teardown(self) -> None:
        """Leave the tables empty."""
        empty()

    def _take_up(self, batch: list[Sent]) -> None:
        Intake(self.settings, trigger_run_id="x").record(sent.received for sent in batch)
        self.model.take_up(batch)

    def _take_up_and_crash(self, batch: list[Sent]) -> None:
        with store.session() as session:
            Intake(self.settings, trigger_run_id="x").take_up(session, [sent.received for sent in batch])
            raise CrashError

    def _report(self, run: ExpectedRun, status: Status, *, final: bool, reason: str = "because") -> None:
        told = report(BUILD_PACKAGE, status, reason=reason)
        with store.session() as session:
            row = self._row_of(session, run)
            Journal(session, self.settings).finish_stage(row, BUILD_PACKAGE, max(1, len(run.tries)), told, final=final)

    def _some_run(self, data: st.DataObject) -> ExpectedRun:
        return data.draw(st.sampled_from(self.model.runs), "run")

    @staticmethod
    def _row_of(session: Session, run: ExpectedRun) -> Run:
        return runs.get(session, f"{run.change.branch}/{run.number}")

    @staticmethod
    def _numbers() -> list[int]:
        with store.session() as session:
            return list(session.scalars(select(Inbound.id).order_by(Inbound.id)))

    def _reasons(self, row: Inbound, expected: ExpectedRow, numbers: list[int]) -> list[str]:
        """Return the reasons a row may have: it is an exact one where it names another message."""
        if expected.because is None:
            return [""] if expected.state == "queued" else [row.reason or "there must be one"]
        number = numbers[self.model.rows.index(expected.because)]
        if expected.state == "duplicate":
            return [f"the same change was queued by message {number}"]
        return [f"superseded by {expected.because.sent.change.short_rev} (message {number})"]


def _refuse(*_: object, **__: object) -> None:
    raise ChangeError("not a format the pipeline reads")


def _shown(row: ExpectedRow) -> tuple[object, ...]:
    number = row.run.number if row.run else None
    return (row.state, *((row.change.rev, row.change.branch, row.change.repo) if row.change else (None,) * 3), number)


class TestLedger(LedgerMachine.TestCase):
    """Whatever happens in whatever order, the books are right."""

    settings = hypothesis.settings(
        max_examples=30, stateful_step_count=15, deadline=None, print_blob=True, report_multiple_bugs=False
    )
