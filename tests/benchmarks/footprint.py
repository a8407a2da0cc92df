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
from tests.benchmarks.watching import WHOLE, memory, watching

_LOOK_SECONDS: Final = 1.0
# What takes messages up, and all: growth with their number would be a leak.
_GROWING: Final = ("triggerer", WHOLE)


def measure(book: Book, stack: Live, *, idle_seconds: int, messages: int) -> None:
    """Watch the stack idle, then while it takes up a storm none of which is of a watched package."""
    with watching(stack.settings) as taken:
        time.sleep(idle_seconds)
    taken.write(book, "idle")
    before, began = _count(), time.monotonic()
    samples = {"at its start": memory(stack.settings)}
    with watching(stack.settings) as taken:
        storm.publish(stack.settings.bus.url.get_secret_value(), storm.Storm(messages, percent=0))
        while not _is_taken_up(before + messages):
            if len(samples) == 1 and _count() >= before + messages // 2:
                samples["half of it taken up"] = memory(stack.settings)
            time.sleep(_LOOK_SECONDS)
    samples["at its end"] = memory(stack.settings)
    book.figures.append(Figure("storm: intake by the stack", messages / (time.monotonic() - began), "messages/s"))
    taken.write(book, "storm")
    for when, sample in samples.items():
        for name in _GROWING:
            book.figures.append(Figure(f"storm, {when}: memory of {name}", sample[name], "MB (PSS)"))


def _count() -> int:
    with store.session() as session:
        return session.scalar(select(func.count()).select_from(Inbound)) or 0


def _is_taken_up(messages: int) -> bool:
    with store.session() as session:
        waiting, parked = outbox.pending(session)
    assert not parked
    return not waiting and _count() >= messages
