"""The outbox through whatever sequence of refusals, lost confirms and crashes: nothing is lost, nothing invented."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy.orm import Session, object_session

from ci_pipeline import audit, dead_letters, settings, store
from ci_pipeline.errors import BusUnreachable, DatabaseUnreachable, MessageRejected, StoreError
from ci_pipeline.store import outbox
from ci_pipeline.store.tables import Outbox
from tests.buses import publish_by
from tests.database import empty
from tests.makers import new_run

# When it fails, Hypothesis looks for a shorter failure for up to five minutes; a timeout would lose the report.
pytestmark = [pytest.mark.usefixtures("database"), pytest.mark.timeout(900)]

WORDS: Final = ("package.queued", "package.running", "package.complete", "compose.running", "complete")
# Which run a message speaks of; the last of the places holds those of none.
PLACES: Final = (0, 1, 2)
# What can happen to one message; who has it then; what publishing ends with.
CONFIRMED, REFUSED, AWAY, CONFIRM_LOST, KILLED, COMMIT_LOST = FATES = (
    "confirmed",
    "refused",
    "away before it has it",
    "away before it confirms",
    "killed before the commit",
    "the database is gone at the commit",
)
DELIVERED: Final = {CONFIRMED, CONFIRM_LOST, KILLED, COMMIT_LOST}
ENDS_WITH: Final = {
    AWAY: BusUnreachable,
    CONFIRM_LOST: BusUnreachable,
    KILLED: KeyboardInterrupt,
    COMMIT_LOST: DatabaseUnreachable,
}


@dataclass(slots=True)
class Message:
    """What must be known of a message."""

    id: UUID
    place: int
    state: str = "pending"
    was_refused: bool = False


class OutboxMachine(RuleBasedStateMachine):
    """The database on one side, a list of messages on the other."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[tuple[int, str], Message] = {}
        self.heard: list[UUID] = []

    @initialize()
    def two_runs(self) -> None:
        """Two runs speak; what is ignored is of none."""
        self.runs = [new_run().id, new_run(rev="1" * 40).id, None]

    @rule(
        place=st.sampled_from(PLACES),
        words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
        lost=st.booleans(),
    )
    def say(self, place: int, words: list[str], *, lost: bool) -> None:
        """Something becomes true, and is said, again or for the first time; or its transaction is lost."""
        with store.session() as session:
            added = [(word, self._add(session, place, word)) for word in words]
            if lost:
                session.rollback()
                return
        for word, row in added:
            assert (row is None) == ((place, word) in self.messages)
            if row:
                self.messages[place, word] = Message(row.id, place)

    @rule(
        fates=st.lists(st.sampled_from([CONFIRMED, *FATES]), max_size=8),
        places=st.none() | st.sets(st.sampled_from(PLACES[:2]), min_size=1),
    )
    def publish(self, fates: list[str], places: set[int] | None) -> None:
        """Publishing meets one fate after the other, until one ends it, and goes well after the last."""
        heard, confirmed, end = self._expected(fates, places)
        before = len(self.heard)
        runs = None if places is None else [self.runs[place] for place in places]
        if end:
            with pytest.raises(end):
                publish_by(self._bus(fates), runs=runs)
        else:
            assert publish_by(self._bus(fates), runs=runs) == confirmed

        assert self.heard[before:] == heard

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """An operator releases a parked message, and no other."""
        message = data.draw(st.sampled_from(list(self.messages.values())), "message")
        if message.state == "parked":
            dead_letters.replay(settings.current(), str(message.id))
            message.state = "pending"
        else:
            with pytest.raises(StoreError, match="no dead letter or parked message"):
                dead_letters.replay(settings.current(), str(message.id))

    @invariant()
    def a_message_is_published_when_confirmed_and_committed(self) -> None:
        """Never else; and all rows are those that were said, in that order."""
        with store.session() as session:
            rows = outbox.messages(session)
            counted = outbox.pending(session)
        states = [message.state for message in self.messages.values()]

        assert [(row.id, _state(row)) for row in rows] == [(one.id, one.state) for one in self.messages.values()]
        assert counted == (states.count("pending"), states.count("parked"))

    @invariant()
    def nothing_is_heard_that_was_not_said(self) -> None:
        """Under the id it was said with."""
        assert set(self.heard) <= {message.id for message in self.messages.values()}

    @invariant()
    def a_run_is_heard_in_order(self) -> None:
        """Its messages are first heard in the order they were said in; one that was ever parked comes when it can."""
        for place in PLACES[:2]:
            said = [one.id for one in self.messages.values() if one.place == place and not one.was_refused]
            first = [identity for identity in dict.fromkeys(self.heard) if identity in said]

            assert first == said[: len(first)]
        with store.session() as session:
            assert list(audit.published_out_of_order(session)) == []

    def teardown(self) -> None:
        """Let the bus take what is left: then all that is not parked has been heard."""
        try:
            publish_by(self._bus([]))
            unheard = [one.id for one in self.messages.values() if one.state != "parked" and one.id not in self.heard]
        finally:
            empty()

        assert unheard == []

    def _add(self, session: Session, place: int, word: str) -> Outbox | None:
        run = self.runs[place]
        body = {"status": "SUCCESS"}
        saying = outbox.Saying(key=f"run {run}: {word}", event=word, topic=word, body=body, run=run)
        return outbox.add(session, saying)

    def _expected(
        self, fates: Iterable[str], places: set[int] | None
    ) -> tuple[list[UUID], int, type[BaseException] | None]:
        """Return what the bus hears, how much of it counts as published, and the error publishing ends with."""
        heard, confirmed, coming = [], 0, iter(fates)
        while batch := self._batch(places):
            tried = _tried(coming, len(batch))
            heard += [one.id for one, fate in zip(batch, tried, strict=False) if fate in DELIVERED]
            if lost := {KILLED, COMMIT_LOST} & set(tried):
                return heard, confirmed, ENDS_WITH[COMMIT_LOST if COMMIT_LOST in lost else KILLED]
            for message, fate in zip(batch, tried, strict=False):
                message.state = {CONFIRMED: "published", REFUSED: "parked"}.get(fate, "pending")
                message.was_refused = message.was_refused or fate == REFUSED
            confirmed += tried.count(CONFIRMED)
            if tried[-1] in ENDS_WITH:
                return heard, confirmed, BusUnreachable
        return heard, confirmed, None

    def _batch(self, places: set[int] | None) -> list[Message]:
        """Return what is sent at once: the oldest message of each run, and all that are of none."""
        first: dict[object, Message] = {}
        for message in self.messages.values():
            if message.state == "pending" and (places is None or message.place in places):
                of_a_run = self.runs[message.place] is not None
                first.setdefault(message.place if of_a_run else message.id, message)
        return list(first.values())

    def _bus(self, fates: Iterable[str]) -> "Bus":
        return Bus(self.heard, iter(fates))


class Bus:
    """A bus that does to each message what is its fate, and takes all that come after the last."""

    def __init__(self, heard: list[UUID], fates: Iterator[str]) -> None:
        self._heard = heard
        self._fates = fates

    def __call__(self, row: Outbox) -> None:
        """Take a message, or not."""
        fate = next(self._fates, CONFIRMED)
        if fate in DELIVERED:
            self._heard.append(row.id)
        if fate == REFUSED:
            raise MessageRejected("not allowed on this topic")
        if fate == COMMIT_LOST:
            object_session(row).connection().connection.dbapi_connection.close()
        elif fate in ENDS_WITH:
            raise ENDS_WITH[fate]


def _tried(coming: Iterator[str], messages: int) -> list[str]:
    """Return what becomes of the messages of a batch, up to the one over which the bus or the process goes away."""
    tried: list[str] = []
    while len(tried) < messages and not {AWAY, CONFIRM_LOST, KILLED} & set(tried):
        tried.append(next(coming, CONFIRMED))
    return tried


def _state(row: Outbox) -> str:
    if row.published_at:
        return "published"
    return "parked" if row.parked_at else "pending"


class TestOutbox(OutboxMachine.TestCase):
    """Whatever the bus and the database do, everything is heard that was said."""

    settings = hypothesis.settings(
        max_examples=50, stateful_step_count=25, deadline=None, print_blob=True, report_multiple_bugs=False
    )
