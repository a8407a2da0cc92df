"""Runs the benchmarks that are asked for, one after the other, and writes what they measured after each."""

import argparse
import logging
from pathlib import Path

from rich.console import Console

from tests.benchmarks import intake
from tests.benchmarks.machine import describe
from tests.benchmarks.measuring import Book


def run(options: argparse.Namespace, state: Path) -> None:
    """Measure in folders below an empty one."""
    book, console = Book(options.json, describe()), Console()
    _log_to(state / "log")
    if "intake" in options.names:
        intake.measure(book, state / "intake", messages=options.messages, rounds=options.storms)
        book.write()
    book.show(console)


def _log_to(file: Path) -> None:
    """Log as the triggerer does, to a file; the clients of the yardsticks only what is wrong."""
    root = logging.getLogger()
    root.handlers = [logging.FileHandler(file)]
    root.setLevel(logging.INFO)
    for name in ("pika", "aiormq", "alembic", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
