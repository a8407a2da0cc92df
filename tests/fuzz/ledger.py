"""What was sent to the intake, held against what the database has of it."""

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select

from ci_pipeline import requests, rules, store
from ci_pipeline.change import Change
from ci_pipeline.settings import Settings
from ci_pipeline.store.tables import Inbound, Outbox, Run, Unannounced
from tests.fuzz.messages import Message

LONGEST_REASON: Final = 400
RUN_ID: Final = re.compile(r"[A-Za-z0-9_~:+-][A-Za-z0-9_.~:+-]{0,249}")
# Bytes that are no text take four characters each.
LONGEST_COPY: Final = 4 * 64 * 1024


class Ledger:
    """What was sent, held against what the database has of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._queued: set[Change] = set()
        self._last = 0
        self.sent = 0
        self.states: dict[str, int] = {}

    def check(self, messages: Sequence[Message]) -> None:
        """Look at the rows of what has been sent last."""
        with store.session() as session:
            rows = session.scalars(select(Inbound).where(Inbound.id > self._last).order_by(Inbound.id)).all()
            said = set(session.scalars(select(Outbox.inbound_id).where(Outbox.inbound_id > self._last)))
            numbers = select(func.unnest(Unannounced.messages).label("number")).subquery()
            to_say = set(session.scalars(select(numbers.c.number).where(numbers.c.number > self._last)))
            begun = {run.id: run for run in session.scalars(select(Run).where(Run.id.in_([row.run for row in rows])))}
        assert [row.digest for row in rows] == [hashlib.sha256(message.raw).hexdigest() for message in messages]
        for message, row in zip(messages, rows, strict=True):
            self._check_row(row, message, is_said=row.id in said | to_say)
            self._check_run(row, begun.get(row.run or 0))
        self.sent += len(messages)
        self._last = rows[-1].id if rows else self._last

    def _check_row(self, row: Inbound, message: Message, *, is_said: bool) -> None:
        self.states[row.state] = self.states.get(row.state, 0) + 1
        change = _change_of(row)
        assert message.change in {None, change}
        assert row.state == self._expected(row, change)
        assert (row.reason == "") == (row.state == "queued")
        assert row.reason.isprintable(), row.reason
        assert row.agent.isprintable()
        assert len(row.reason) <= LONGEST_REASON
        assert len(row.body) <= LONGEST_COPY
        # What is superseded was queued, and that was said.
        assert is_said == (row.state in {"queued", "superseded", "ignored"})

    def _expected(self, row: Inbound, change: Change | None) -> str:
        """Return the state a row has to have, going by the change it is about."""
        if change is None:
            return "dead"
        never = (
            change.rev == "0" * 40 or change.namespace.startswith("forks") or row.reason.startswith(("a fork", "not a"))
        )
        if never or rules.decide(change, self._settings).state == "ignored":
            return "ignored"
        if change in self._queued:
            return "duplicate"
        self._queued.add(change)
        return "superseded" if row.state == "superseded" else "queued"

    def _check_run(self, row: Inbound, run: Run | None) -> None:
        assert (run is not None) == (row.state in {"queued", "superseded", "duplicate"})
        if run is not None:
            folder = requests.workspace_of(self._settings, run, "build_package", 1)
            assert folder.resolve().is_relative_to(self._settings.state.resolve())
            assert ".." not in folder.parts
            assert RUN_ID.fullmatch(run.run_id)


def _change_of(row: Inbound) -> Change | None:
    """Return the change of a row, which is whole and valid, or not there at all."""
    fields = {name: getattr(row, name) for name in ("namespace", "repo", "rev", "branch")}
    if row.repo is None:
        assert set(fields.values()) == {None}
        return None
    change = Change.parse(**fields)
    assert change.model_dump() == fields
    return change
