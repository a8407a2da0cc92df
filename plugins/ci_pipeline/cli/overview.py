"""All changes that go on: a table that changes on a terminal, a line whenever a change moves elsewhere."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Self

from rich.table import Table
from rich.text import Text

from ci_pipeline.cli.live import OnTerminal
from ci_pipeline.cli.output import coloured, local_time, print_json_lines, say, table
from ci_pipeline.insight.matrix import Row
from ci_pipeline.wording import duration


class Overview(OnTerminal):
    """Shows what goes on; give it what there is again and again."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        super().__init__()
        self._told: dict[str, str] = {}

    def update(self, rows: list[Row]) -> None:
        """Show what goes on now."""
        if self._draw(_table(rows)):
            return
        now = {_name(row): _where(row) for row in rows}
        for line in _news(self._told, now):
            say(f"{local_time(datetime.now(UTC))[-8:]}  {line}")
        self._told = now


class JsonLines:
    """Prints one JSON line whenever what goes on has changed: `{"going_on": [...]}`."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._told: object = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def update(self, rows: list[Row]) -> None:
        """Print what goes on now, if it is news."""
        now = [(_name(row), _where(row)) for row in rows]
        if now != self._told:
            print_json_lines([{"going_on": rows}])
        self._told = now


def _table(rows: list[Row]) -> Table | Text:
    if not rows:
        return Text("nothing goes on (Ctrl-C ends)", style="dim")
    cells = [
        (
            f"{row.change.namespace}/{row.change.repo}",
            row.change.short_rev,
            row.change.branch,
            str(row.build_id),
            row.stage or "-",
            coloured(_status(row)),
            duration(row.seconds),
        )
        for row in rows
    ]
    columns = ("package", "change", "branch", "run", "stage", "status", "since it arrived")
    return table(f"{len(rows)} going on (Ctrl-C ends)", columns, cells)


def _news(told: dict[str, str], now: dict[str, str]) -> Iterable[str]:
    for name, where in now.items():
        if told.get(name) != where:
            yield f"{name}: {where}"
    for name in told.keys() - now.keys():
        yield f"{name}: ended; `ci-pipeline why` tells how"


def _name(row: Row) -> str:
    return f"{row.change} ({row.change.branch}/{row.build_id})"


def _where(row: Row) -> str:
    return f"{row.stage} {_status(row)}" if row.stage else _status(row)


def _status(row: Row) -> str:
    """Return where the newest stage stands, or that the change waits."""
    cell = row.cells.get(row.stage)
    return (cell.status or "running") if cell else row.verdict.state
