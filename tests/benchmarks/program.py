"""Runs the benchmarks that are asked for, one after the other, and writes what they measured after each."""

import argparse
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.benchmarks import change, composes, footprint, intake, reaction, scale, several
from tests.benchmarks.live import live
from tests.benchmarks.machine import describe
from tests.benchmarks.measuring import Book

# They share a whole pipeline, which is brought up once; in this order.
_LIVE: Final = ("footprint", "change", "reaction", "several")


def run(options: argparse.Namespace, state: Path) -> int:
    """Measure in folders below an empty one; return how many benchmarks failed."""
    book, console = Book(options.json, describe()), Console(width=180)
    _log_to(state / "log")
    measures: dict[str, Callable[[], object]] = {
        "intake": partial(intake.measure, book, state / "intake", messages=options.messages, rounds=options.storms),
        "composes": partial(composes.measure, book, state / "composes", rounds=options.composes),
        "scale": partial(scale.measure, book, state / "scale", runs=options.runs),
    }
    chosen = {name: measure for name, measure in measures.items() if name in options.names}
    if set(_LIVE) & set(options.names):
        chosen["a whole pipeline"] = partial(_measure_live, book, console, options, state)
    failed = _measure(book, console, chosen)
    book.show(console)
    return failed


def _measure(book: Book, console: Console, measures: dict[str, Callable[[], object]]) -> int:
    """Take measures; one that fails costs the others nothing. Return how many failed."""
    failed = 0
    for name, measure in measures.items():
        console.log(name)
        try:
            measure()
        except Exception:  # noqa: BLE001 - whatever it is, it is shown
            console.print_exception()
            failed += 1
        book.write()
    return failed


def _measure_live(book: Book, console: Console, options: argparse.Namespace, state: Path) -> None:
    """Measure what needs the whole pipeline: first of all while it is idle.

    Raises:
        AssertionError: a benchmark failed; it has been shown.
    """
    with live(state / "live") as stack:
        first = change.warm_up(book, stack)
        measures: dict[str, Callable[[], object]] = {
            "footprint": partial(footprint.measure, idle_seconds=options.idle_seconds, messages=options.messages),
            "change": partial(change.measure, first=first, folder=state / "script", rounds=options.rounds),
            "reaction": partial(reaction.measure, pushes=options.pushes),
            "several": partial(several.measure, changes=options.at_once),
        }
        chosen = {name: partial(measures[name], book, stack) for name in _LIVE if name in options.names}
        assert not _measure(book, console, chosen), "see above"


def _log_to(file: Path) -> None:
    """Log as the triggerer does, to a file; the clients of the yardsticks only what is wrong."""
    root = logging.getLogger()
    root.handlers = [logging.FileHandler(file)]
    root.setLevel(logging.INFO)
    for name in ("pika", "aiormq", "alembic", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
