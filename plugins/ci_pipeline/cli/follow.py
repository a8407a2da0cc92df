"""Follow a run, or all of them, by looking at the database: what is committed there is true, bus or no bus."""

import time
from collections.abc import Iterator
from typing import Final

from sqlalchemy.orm import Session

from ci_pipeline import store
from ci_pipeline.datahub.model import RunResults
from ci_pipeline.datahub.queries import run_results
from ci_pipeline.errors import StoreError
from ci_pipeline.insight import matrix
from ci_pipeline.insight.matrix import Row
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs

POLL_SECONDS: Final = 0.5
_FOR_EVER: Final = float("inf")


def follow(settings: Settings, run_id: str, *, seconds: float = _FOR_EVER) -> Iterator[RunResults]:
    """Yield a run again and again, the last time when it has its final status.

    Raises:
        StoreError: there is no such run, or it has not ended in time.
    """

    def look(session: Session) -> RunResults:
        return run_results(session, settings, runs.get(session, run_id))

    deadline = time.monotonic() + seconds
    while True:
        with store.session() as session:
            view = look(session)
        yield view
        if view.status is not None:
            return
        if time.monotonic() > deadline:
            msg = f"run {run_id} has not ended after {seconds:.0f} s; `ci-pipeline watch {run_id}` goes on looking"
            raise StoreError(msg)
        time.sleep(POLL_SECONDS)


def follow_all(settings: Settings) -> Iterator[list[Row]]:
    """Yield the changes that go on again and again, the oldest first. It does not end."""
    while True:
        with store.session() as session:
            rows = matrix.going_on(session, settings)
        yield rows
        time.sleep(POLL_SECONDS)
