"""Follow a run by looking at the database: what the pipeline commits there is true, also when the bus is away."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from sqlalchemy.orm import Session

from ci_pipeline import store
from ci_pipeline.cli.views import RunView, chosen_run, run_with_stages
from ci_pipeline.errors import StoreError
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Run

POLL_SECONDS: Final = 0.5
_FOR_EVER: Final = float("inf")


def follow(settings: Settings, run_id: str, *, seconds: float = _FOR_EVER) -> Iterator[RunView]:
    """Yield a run again and again, the last time when it has its final status.

    Raises:
        StoreError: there is no such run, or it has not ended in time.
    """

    def look(session: Session) -> RunView:
        return run_with_stages(session, settings, runs.get(session, run_id))

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


def wait_for_run(run_id: str | None, on_waiting: Callable[[], None]) -> str:
    """Return the id of a run: the one that was asked for, or the newest, waiting until there is one.

    Raises:
        StoreError: there is no such run.
    """
    waiting = False
    while (found := _find(run_id)) is None:
        if not waiting:
            on_waiting()
        waiting = True
        time.sleep(POLL_SECONDS)
    return found.run_id


def _find(run_id: str | None) -> Run | None:
    with store.session() as session:
        return chosen_run(session, run_id)
