"""How the commands print: tables for people, JSON for programs, one sentence for errors."""

import io
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic_core import to_json
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ci_pipeline.wording import printable

out: Final = Console(highlight=False)
err: Final = Console(stderr=True, highlight=False, soft_wrap=True)

_COLOURS: Final = {
    "SUCCESS": "green",
    "passed": "green",
    "healthy": "green",
    "running": "cyan",
    "queued": "cyan",
    "UNSTABLE": "yellow",
    "FAILURE": "red",
    "failed": "red",
    "quarantined": "yellow",
    "passed-on-rerun": "yellow",
    "error": "red",
    "dead": "red",
    "ABORTED": "magenta",
    "SKIPPED": "dim",
    "skipped": "dim",
}


def print_json(data: Any) -> None:
    """Print data as indented JSON: dataclasses and pydantic models as objects, times as ISO 8601."""
    sys.stdout.write(to_json(data, indent=2).decode() + "\n")


def print_json_lines(rows: Iterable[Any]) -> None:
    """Print one JSON object per line."""
    for row in rows:
        sys.stdout.write(to_json(row).decode() + "\n")


def say(text: str) -> None:
    """Print a line of prose; nothing in it is markup."""
    out.print(printable(text), markup=False, soft_wrap=True)


def complain(text: str) -> None:
    """Print a sentence on standard error."""
    err.print(printable(text), markup=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Return a table; text cells are shown as they are."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold", pad_edge=False, box=None)
    for column in columns:
        right = column in {"seconds", "tools", "size"}
        made.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
    return made


def show(shown: Table) -> None:
    """Print a table: as wide as a terminal, unfolded where there is none (a pipe, a log)."""
    if out.is_terminal:
        out.print(shown)
        return
    text = io.StringIO()
    Console(file=text, width=400, no_color=True, highlight=False).print(shown)
    out.file.write("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()))


def coloured(status: str) -> Text:
    """Return a status in its colour."""
    return Text(status, style=_COLOURS.get(status, ""))


def local_time(time: datetime | None) -> str:
    """Return a time on the user's clock, to the second; "" for none."""
    return "" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def seconds(value: float) -> str:
    """Return a duration: `3.2`."""
    return f"{value:.1f}"
