"""For tests of the journal: writing it, and what was said of a run."""

from ci_pipeline import store
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import Stage
from ci_pipeline.store import outbox, runs
from ci_pipeline.store.tables import Run
from tests.makers import report


def said(run: Run) -> list[tuple[str, str]]:
    """Return the events of a run with their status, in order."""
    with store.session() as session:
        return [(row.event, row.body["status"]) for row in outbox.messages(session, run=run.id)]


def begin(settings: Settings, run: Run, stage: Stage, try_number: int = 1) -> None:
    """Begin a try."""
    with store.session() as session:
        Journal(session, settings).begin_stage(runs.locked(session, run.id), stage, try_number)


def finish(settings: Settings, run: Run, stage: Stage, try_number: int = 1, **how: object) -> None:
    """Finish a try."""
    final = bool(how.pop("final", True))
    with store.session() as session:
        row = runs.locked(session, run.id)
        Journal(session, settings).finish_stage(row, stage, try_number, report(stage, **how), final=final)


def complete(settings: Settings, run: Run) -> tuple[Status, str]:
    """End a run; return its status and reason."""
    with store.session() as session:
        row = runs.locked(session, run.id)
        status = Journal(session, settings).finish_run(row)
        return status, row.reason
