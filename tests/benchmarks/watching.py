"""What a stack takes while something happens: CPU, memory and connections, by component."""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
from sqlalchemy import create_engine, make_url, text

from ci_pipeline.settings import Settings
from ci_pipeline.stack.components import ALL
from ci_pipeline.stack.handle import locate
from ci_pipeline.stack.supervisor import Supervisor
from tests.benchmarks.measuring import Book, Figure

# Below the scheduler: the executor's workers, the tasks, and the tools they run.
TASKS: Final = "tasks"
WHOLE: Final = "the whole stack"
_EVERY_SECONDS: Final = 2.0
_CONNECTIONS: Final = "SELECT datname, count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1"


@dataclass(slots=True)
class Taken:
    """What was taken.

    Attributes:
        seconds: how long it was watched.
        cpu: seconds of CPU, by component.
        memory: the most megabytes (PSS) at a time, by component; and of all together.
        connections: the most client connections at a time, by database; and of all together.
    """

    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    connections: dict[str, float] = field(default_factory=dict)

    def write(self, book: Book, when: str) -> None:
        """Write the figures into a book."""
        whole = {WHOLE: sum(self.cpu.values())} if self.cpu else {}
        for name, seconds in {**self.cpu, **whole}.items():
            book.figures.append(Figure(f"{when}: CPU of {name}", 100 * seconds / self.seconds, "% of a core"))
        for name, megabytes in self.memory.items():
            book.figures.append(Figure(f"{when}: most memory of {name}", megabytes, "MB (PSS)"))
        for name, count in self.connections.items():
            book.figures.append(Figure(f"{when}: most connections to {name}", count, "connections"))


@contextlib.contextmanager
def watching(settings: Settings) -> Iterator[Taken]:
    """Watch a stack while the block lasts; what was taken is complete behind it."""
    taken, done = Taken(), threading.Event()
    watcher = threading.Thread(target=_look, args=(settings, taken, done), daemon=True)
    before, began = _cpu(settings.state), time.monotonic()
    watcher.start()
    try:
        yield taken
    finally:
        taken.seconds = time.monotonic() - began
        after = _cpu(settings.state)
        taken.cpu = {name: after[name] - before.get(name, 0.0) for name in after}
        done.set()
        watcher.join()


def memory(settings: Settings) -> dict[str, float]:
    """Return the megabytes (PSS) a stack has now, by component; and all together."""
    return _with_whole(_memory(settings.state))


def _look(settings: Settings, taken: Taken, done: threading.Event) -> None:
    """Look again and again; our own connection is not counted."""
    place = make_url(settings.database.url.get_secret_value())
    engine = create_engine(place)
    try:
        while True:
            _keep_most(taken.memory, _memory(settings.state))
            with engine.connect() as connection:
                counted: dict[str, float] = {row.datname: row.count for row in connection.execute(text(_CONNECTIONS))}
            counted[place.database or ""] -= 1
            _keep_most(taken.connections, counted)
            if done.wait(_EVERY_SECONDS):
                return
    finally:
        engine.dispose()


def _with_whole(now: Mapping[str, float]) -> dict[str, float]:
    return {**now, WHOLE: sum(now.values())}


def _keep_most(most: dict[str, float], now: Mapping[str, float]) -> None:
    for name, value in _with_whole(now).items():
        most[name] = max(most.get(name, 0.0), value)


def _members(state: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the processes of a stack, with the component each belongs to."""
    for info in Supervisor(locate(state)).processes().values():
        if info.name in ALL and info.pid:
            root = psutil.Process(info.pid)
            yield info.name, root
            for child in root.children(recursive=True):
                yield (TASKS if info.name == "scheduler" else info.name), child


def _memory(state: Path) -> dict[str, float]:
    taken: dict[str, float] = defaultdict(float)
    for name, process in _members(state):
        with contextlib.suppress(psutil.Error):
            taken[name] += process.memory_full_info().pss / 2**20
    return taken


def _cpu(state: Path) -> dict[str, float]:
    """Return the CPU of live processes and of those they have waited for, by component."""
    taken: dict[str, float] = defaultdict(float)
    for name, process in _members(state):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            taken[name] += times.user + times.system
            taken[TASKS if name == "scheduler" else name] += times.children_user + times.children_system
    return taken
