"""One pass for one sink: what is due is delivered, in order; what it does not take waits, what it refuses is parked."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from ci_pipeline import store
from ci_pipeline.errors import SinkError, SinkFailed, SinkRefused, SinkUnreachable
from ci_pipeline.settings import Settings
from ci_pipeline.sink_sections import ElasticsearchSink, HttpSink, SinkSettings
from ci_pipeline.sinks.account import client_of
from ci_pipeline.sinks.base import Sink
from ci_pipeline.sinks.client import Client
from ci_pipeline.sinks.elasticsearch import Elasticsearch
from ci_pipeline.sinks.http import HttpReceiver
from ci_pipeline.sinks.parcel import Parcel
from ci_pipeline.sinks.resultsdb import ResultsDb
from ci_pipeline.store import deliveries
from ci_pipeline.store.downstream_tables import Delivery

LONGEST_WAIT: Final = timedelta(minutes=10)
_FIRST_WAIT: Final = timedelta(seconds=10)
_MOST_DOUBLINGS: Final = 10
_LONGEST_ANSWER: Final = 2000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pass:
    """What came of one pass.

    Attributes:
        sink: name of the sink.
        delivered: number of deliveries it took.
        parked: number it refused.
        waiting: number that still wait.
        problem: why it did not take what was due; "" if it did, or nothing was due.
        busy: whether another pass was at work; then this one did nothing.
    """

    sink: str
    delivered: int = 0
    parked: int = 0
    waiting: int = 0
    problem: str = ""
    busy: bool = False

    @property
    def summary(self) -> str:
        """What came of it, in one line."""
        if self.busy:
            return f"{self.sink}: somebody delivers to it already"
        why = f": {self.problem}" if self.problem else ""
        return f"{self.sink}: {self.delivered} delivered, {self.parked} parked, {self.waiting} waiting{why}"


def deliver(settings: Settings, name: str, *, seconds: float | None = None, at_once: bool = False) -> Pass:
    """Deliver what is due to a sink.

    Args:
        settings: all settings.
        name: name of the sink.
        seconds: no request begins after so many; default: `delivery.interval_seconds`.
        at_once: also what has to wait before it is tried again.

    Raises:
        SettingsError: there is no such sink.
        DatabaseUnreachable: the deliveries cannot be read or written now; what was under way may be told twice.
    """
    sink = settings.sink(name)
    with deliveries.turn(name) as ours:
        if not ours:
            return Pass(name, busy=True)
        time_for_it = settings.delivery.interval_seconds if seconds is None else seconds
        work = _Work(settings, sink, seconds=time_for_it, at_once=at_once)
        work.go_on()
    with store.session() as session:
        waiting = deliveries.waiting(session, name)
    return Pass(name, work.delivered, work.parked, waiting, work.problem)


class _Work:
    """A pass that goes on, for so many seconds."""

    def __init__(self, settings: Settings, sink: SinkSettings, *, seconds: float, at_once: bool) -> None:
        self._settings = settings
        self._sink = sink
        self._until = time.monotonic() + seconds
        self._at_once = at_once
        self.delivered = self.parked = 0
        self.problem = ""

    def go_on(self) -> None:
        """Deliver until nothing is due, the sink takes nothing, or the time is over."""
        with store.session() as session:
            if not self._due(session, 1):
                return
        try:
            with _opened(self._sink) as sink:
                while self._has_time() and (parcels := self._begin(sink.at_once)):
                    if not self._deliver(sink, parcels):
                        return
        except SinkUnreachable as error:  # it could not even be opened
            self._keep(self._begin(1), error)

    def _has_time(self) -> bool:
        return time.monotonic() < self._until

    def _due(self, session: Session, limit: int) -> list[Delivery]:
        now = None if self._at_once else datetime.now(UTC)
        return deliveries.due(session, self._sink.name, limit=limit, now=now)

    def _begin(self, limit: int) -> list[Parcel]:
        """Return what is due, each written down as tried: if we die now, the sink may have it."""
        with store.session() as session:
            rows = self._due(session, limit)
            for row in rows:
                row.attempts += 1
            return [Parcel.of(session, self._settings, row) for row in rows]

    def _deliver(self, sink: Sink, parcels: Sequence[Parcel]) -> bool:
        """Deliver parcels, and tell whether the sink takes more."""
        try:
            outcomes = sink.deliver(parcels)
        except SinkUnreachable as error:
            return self._keep(parcels, error)
        except SinkError as error:
            if len(parcels) == 1:
                return self._keep(parcels, error)
            # One of them may spoil the request, or it is too large: each by itself tells.
            return all(self._has_time() and self._deliver(sink, [parcel]) for parcel in parcels)
        return self._keep(parcels, *outcomes)

    def _keep(self, parcels: Sequence[Parcel], *outcomes: SinkError | None) -> bool:
        """Write down what came of parcels, one outcome each or one for all; tell whether the sink takes more."""
        with store.session() as session:
            rows = [session.get_one(Delivery, UUID(parcel.id)) for parcel in parcels]
            each = outcomes * len(rows) if len(outcomes) == 1 else outcomes
            out_of_the_way = [self._write(row, error) for row, error in zip(rows, each, strict=True)]
        return all(out_of_the_way)

    def _write(self, row: Delivery, error: SinkError | None) -> bool:
        """Write down what came of one, and tell whether it is out of the way."""
        row.answer = str(error)[:_LONGEST_ANSWER] if error else ""
        row.next_try_at = None
        if error is None:
            row.delivered_at = datetime.now(UTC)
            self.delivered += 1
            return True
        _log.warning("%s did not take %s of %s: %s", row.sink, row.event, row.run.run_id, error)
        row.failures += isinstance(error, SinkFailed)
        if isinstance(error, SinkRefused) or row.failures >= self._sink.attempts:
            row.parked_at = datetime.now(UTC)
            self.parked += 1
            return True
        row.next_try_at = datetime.now(UTC) + _wait(row, error)
        self.problem = self.problem or str(error)
        return False


def _wait(row: Delivery, error: SinkError) -> timedelta:
    """Return how long a sink is left alone: twice as long each time, or as long as it asks for, within bounds."""
    asked = error.retry_after if isinstance(error, SinkUnreachable) else None
    if asked is not None:
        return min(timedelta(seconds=asked), LONGEST_WAIT)
    doublings: int = min(row.attempts - 1, _MOST_DOUBLINGS)
    return min(_FIRST_WAIT * (1 << doublings), LONGEST_WAIT)


@contextmanager
def _opened(settings: SinkSettings) -> Iterator[Sink]:
    """Open a sink of any kind.

    Raises:
        SinkUnreachable: a secret or a file it needs is not there.
    """
    if isinstance(settings, HttpSink):
        with Client(settings) as client:
            yield HttpReceiver(settings, client)
    elif isinstance(settings, ElasticsearchSink):
        with client_of(settings, scheme="ApiKey") as client:
            yield Elasticsearch(settings, client)
    else:
        with client_of(settings, scheme="Bearer") as client:
            yield ResultsDb(settings, client)
