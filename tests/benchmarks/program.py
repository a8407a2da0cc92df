"""Runs the benchmarks that are asked for, one after the other, and writes what they measured after each."""

import argparse
import logging
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.benchmarks import change, footprint, intake, reaction, scale, several
from tests.benchmarks.live import live
from tests.benchmarks.machine import describe
from tests.benchmarks.measuring import Book

# They share a whole pipeline, which is brought up once.
_LIVE: Final = {"footprint", "change", "reaction", "several"}


def run(options: argparse.Namespace, state: Path) -> None:
    """Measure in folders below an empty one."""
    book, console = Book(options.json, describe()), Console(width=180)
    _log_to(state / "log")
    if "intake" in options.names:
        intake.measure(book, state / "intake", messages=options.messages, rounds=options.storms)
        book.write()
    if "scale" in options.names:
        scale.measure(book, state / "scale", runs=options.runs)
        book.write()
    if _LIVE & set(options.names):
        _measure_live(book, options, state)
    book.show(console)


def _measure_live(book: Book, options: argparse.Namespace, state: Path) -> None:
    """Measure what needs the whole pipeline: idle first, and what the changes of the others leave last."""
    with live(state / "live") as stack:
        first = change.warm_up(book, stack)
        measures = {
            "footprint": lambda: footprint.measure(
                book, stack, idle_seconds=options.idle_seconds, messages=options.messages
            ),
            "change": lambda: change.measure(book, stack, first, state / "script", rounds=options.rounds),
            "reaction": lambda: reaction.measure(book, stack, pushes=options.pushes),
            "several": lambda: several.measure(book, stack, changes=options.at_once),
        }
        for name, measure in measures.items():
            if name in options.names:
                measure()
                book.write()


def _log_to(file: Path) -> None:
    """Log as the triggerer does, to a file; the clients of the yardsticks only what is wrong."""
    root = logging.getLogger()
    root.handlers = [logging.FileHandler(file)]
    root.setLevel(logging.INFO)
    for name in ("pika", "aiormq", "alembic", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
