"""Live progress of a run: a table that changes on a terminal, a line per event elsewhere."""

from datetime import datetime
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

from ci_pipeline.cli import tables
from ci_pipeline.cli.output import local_time, out, say
from ci_pipeline.datahub.model import RunResults, TestedResult


class OnTerminal:
    """A table that changes in its place, where standard output is a terminal. Use it in a `with` block."""

    def __init__(self, *, keep: bool = True) -> None:
        """Choose by what standard output is; `keep` the last table on the terminal."""
        self._live = Live(console=out, refresh_per_second=4, transient=not keep) if out.is_terminal else None

    def __enter__(self) -> Self:
        """Begin."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave what is shown on the terminal."""
        if self._live is not None:
            self._live.stop()

    def _draw(self, table: Table | Text) -> bool:
        """Show a table. Return whether this is a terminal; if not, whoever asked has to say it otherwise."""
        if self._live is not None:
            self._live.update(table, refresh=True)
        return self._live is not None


class Display(OnTerminal):
    """Shows a run; give it every view of the run there is."""

    def __init__(self, *, keep: bool = True) -> None:
        """Take what `OnTerminal` does."""
        super().__init__(keep=keep)
        self._told: set[tuple[str, int, str | None]] = set()

    def update(self, view: RunResults) -> None:
        """Show the run as it is now."""
        if not self._draw(tables.of_stages(view)):
            for stage in tables.begun(view):
                self._tell(stage)

    def _tell(self, stage: TestedResult) -> None:
        for status, time in ((None, stage.started_at), (stage.status, stage.ended_at)):
            key = (stage.stage, stage.try_number, status)
            if time is not None and key not in self._told:
                self._told.add(key)
                if not (status is None and stage.try_number == 0):
                    say(_line(stage, status, time))


def _line(stage: TestedResult, status: str | None, time: datetime) -> str:
    again = f" (try {stage.try_number})" if stage.try_number > 1 else ""
    took = f" {stage.seconds:.1f} s" if status else ""
    came = tables.made(stage) if status else ""
    return f"{local_time(time)[-8:]}  {stage.stage}{again}: {status or 'running'}{took}{f'  {came}' if came else ''}"
