"""Storms through whatever sequence of pushes, pauses, looks and ends: who waits, who goes, and that nothing is lost."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import select, update

from ci_pipeline import audit, settings, store
from ci_pipeline.journal import Journal
from ci_pipeline.lane import Lane
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import lanes, runs, storms
from ci_pipeline.store.tables import Inbound, Run
from tests.database import empty
from tests.storm import PACKAGES, push_of, stormy, take_up

pytestmark = [pytest.mark.usefixtures("database"), pytest.mark.timeout(900)]

CHANGES: Final = 3
MINUTES: Final = 30
AT_ONCE: Final = 2
ACCOUNTS: Final = ["releng", "alice", ""]


@dataclass(slots=True)
class Expected:
    """A run as it must be."""

    package: str
    lane: Lane
    begun: bool = False
    over: bool = False


@dataclass(slots=True)
class Model:
    """What there must be, in plain Python. `pushed` is when each account pushed, in minutes of `now`."""

    now: int = 0
    pushed: dict[str, list[int]] = field(default_factory=dict)
    storming: set[str] = field(default_factory=set)
    runs: list[Expected] = field(default_factory=list)

    def recent(self, account: str) -> int:
        """Return how many changes an account has pushed within the window."""
        return sum(self.now - at < MINUTES for at in self.pushed.get(account, ()))

    def push(self, account: str, package: str) -> None:
        """Queue a new change."""
        if self.recent(account) >= CHANGES:
            self.storming.add(account)
        self.pushed.setdefault(account, []).append(self.now)
        lane = Lane.STORM if account in self.storming else Lane.LIVE
        replaced = [run for run in self.runs if run.package == package and not (run.begun or run.over)]
        for run in replaced:
            run.over = True
        lane = Lane.LIVE if any(run.lane is Lane.LIVE for run in replaced) else lane
        self.runs.append(Expected(package, lane))

    def look(self) -> None:
        """Calm down who has calmed down, and let go whom there is room for."""
        self.storming = {one for one in self.storming if self.recent(one) > CHANGES // 2}
        for run in self.waiting(Lane.LIVE):
            run.begun = True
        busy = sum(run.begun and not run.over and run.lane is Lane.STORM for run in self.runs)
        for run in self.waiting(Lane.STORM)[: max(AT_ONCE - busy, 0)]:
            run.begun = True

    def waiting(self, lane: Lane) -> list[Expected]:
        """Return the runs of a lane that have not begun."""
        return [run for run in self.runs if run.lane is lane and not (run.begun or run.over)]


class StormMachine(RuleBasedStateMachine):
    """The database on one side, the model on the other; after every step they agree."""

    def __init__(self) -> None:
        super().__init__()
        bounds = {"changes": CHANGES, "window_minutes": MINUTES, "at_once": AT_ONCE}
        self.settings = stormy(settings.current(), **bounds)
        self.model = Model()

    @rule(account=st.sampled_from(ACCOUNTS), packages=st.lists(st.sampled_from(PACKAGES[:6]), min_size=1, max_size=4))
    def push(self, account: str, packages: list[str]) -> None:
        """Somebody pushes new revisions of packages, in one batch."""
        first = len(self.model.runs)
        names = [(package, f"change {first + number}") for number, package in enumerate(packages)]
        take_up(self.settings, *(push_of(package, by=account, name=name) for package, name in names))
        for package in packages:
            self.model.push(account, package)

    @rule(minutes=st.sampled_from([5, 16, 31]))
    def wait(self, minutes: int) -> None:
        """Time goes by."""
        self.model.now += minutes
        with store.session() as session:
            session.execute(update(Inbound).values(received_at=Inbound.received_at - timedelta(minutes=minutes)))

    @rule()
    def look(self) -> None:
        """The listener or the reconciler looks what is to be done; what Airflow is told of begins."""
        with store.session() as session:
            storms.calm_down(session, self.settings.storm)
            for run in runs.not_fired(session):
                self._begin(session, run)
            while run := lanes.next_to_go(session, self.settings.storm):
                self._begin(session, run)
        self.model.look()

    @precondition(lambda self: any(run.begun and not run.over for run in self.model.runs))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """A run ends."""
        number, run = self._one_of(data, [run for run in self.model.runs if run.begun and not run.over])
        with store.session() as session:
            Journal(session, self.settings).finish_run(runs.get(session, f"f26/{number}"))
        run.over = True

    @precondition(lambda self: self.model.waiting(Lane.STORM))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """An operator lets one go before its turn."""
        number, run = self._one_of(data, self.model.waiting(Lane.STORM))
        with store.session() as session:
            lanes.release(session, f"f26/{number}")
        run.lane = Lane.LIVE

    @invariant()
    def every_change_is_in_its_lane_and_as_far_as_it_got(self) -> None:
        """One run each, whatever became of it."""
        with store.session() as session:
            rows = list(session.scalars(select(Run).order_by(Run.number)))
        found = [(row.repo, row.lane, row.fired_at is not None, row.status is not None) for row in rows]

        assert found == [(run.package, run.lane, run.begun, run.over) for run in self.model.runs]

    @invariant()
    def who_storms_is_known(self) -> None:
        """By the database alone."""
        with store.session() as session:
            found = {storm.account for storm in storms.going_on(session)}

        assert found == self.model.storming

    def teardown(self) -> None:
        """What waits is accounted for, and goes in the end, a few at a time; leave the tables empty."""
        assert audit.audit(patience=timedelta(days=1)).findings == ()

        while self.model.waiting(Lane.STORM) or self.model.waiting(Lane.LIVE):
            self.look()
            self.every_change_is_in_its_lane_and_as_far_as_it_got()
            for number, run in enumerate(self.model.runs, 1):
                if run.begun and not run.over:
                    with store.session() as session:
                        Journal(session, self.settings).finish_run(runs.get(session, f"f26/{number}"))
                    run.over = True
        empty()

    def _begin(self, session: object, run: Run) -> None:
        runs.mark_fired(session, run.id)
        Journal(session, self.settings).begin_stage(run, BUILD_PACKAGE, 1)

    def _one_of(self, data: st.DataObject, some: list[Expected]) -> tuple[int, Expected]:
        numbered = [(number, run) for number, run in enumerate(self.model.runs, 1) if any(run is one for one in some)]
        return data.draw(st.sampled_from(numbered), "run")


class TestStorm(StormMachine.TestCase):
    """Whatever is pushed in whatever order, the lane is as it should be."""

    settings = hypothesis.settings(
        max_examples=6, stateful_step_count=15, deadline=None, print_blob=True, report_multiple_bugs=False
    )
