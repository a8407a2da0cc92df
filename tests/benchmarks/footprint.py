"""What the stack takes while nothing happens, and during a storm that concerns nobody."""

import time
from typing import Final

from sqlalchemy import func, select

from ci_pipeline import store
from ci_pipeline.store import outbox
from ci_pipeline.store.tables import Inbound
from tests.benchmarks import storm
from tests.benchmarks.live import Live
from tests.benchmarks.measuring import Book, Figure
from tests.benchmarks.watching import watching

_LOOK_SECONDS: Final = 1.0


def measure(book: Book, stack: Live, *, idle_seconds: int, messages: int) -> None:
    """Watch the stack idle, then while it takes up a storm none of which is of a watched package."""
    with watching(stack.settings) as taken:
        time.sleep(idle_seconds)
    taken.write(book, "idle")
    before, began = _count(), time.monotonic()
    with watching(stack.settings) as taken:
        storm.publish(stack.settings.bus.url.get_secret_value(), storm.Storm(messages, percent=0))
        while not _is_taken_up(before + messages):
            time.sleep(_LOOK_SECONDS)
    book.figures.append(Figure("storm: intake by the stack", messages / (time.monotonic() - began), "messages/s"))
    taken.write(book, "storm")


def _count() -> int:
    with store.session() as session:
        return session.scalar(select(func.count()).select_from(Inbound)) or 0


def _is_taken_up(messages: int) -> bool:
    with store.session() as session:
        waiting, parked = outbox.pending(session)
    assert not parked
    return not waiting and _count() >= messages
