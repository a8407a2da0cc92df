"""Sends the pipeline's own measures to wherever Airflow sends its own: `[metrics]` of Airflow's settings says where.

Plain StatsD has no tags, so what must be told apart is in the name. Nothing waits for what is sent, and nobody has to
listen.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from airflow.sdk.observability import stats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ci_pipeline.measures import StageTimes
    from ci_pipeline.outcome import Status
    from ci_pipeline.stages import Stage
    from ci_pipeline.store.tables import Run

_PREFIX: Final = "ci_pipeline"


def send_gauges(measured: Mapping[str, float]) -> None:
    """Send how things are now."""
    for name, value in measured.items():
        stats.gauge(f"{_PREFIX}.{name}", value)


def send_stage(run: Run, stage: Stage, status: Status, times: StageTimes | None) -> None:
    """Send how a try of a stage ended, and its times."""
    name, tags = f"{_PREFIX}.stage.{stage.name}", {"branch": run.branch}
    stats.incr(f"{name}.{status.lower()}", tags=tags)
    if times is not None:
        stats.timing(f"{name}.took", timedelta(seconds=times.took), tags=tags)
        stats.timing(f"{name}.waited", timedelta(seconds=times.waited), tags=tags)


def send_run(run: Run) -> None:
    """Send how long a run took, from the message of its push to its `complete`."""
    if run.ended_at is not None:
        stats.timing(f"{_PREFIX}.run.took", run.ended_at - run.created_at, tags={"branch": run.branch})


def send_mended(count: int) -> None:
    """Send how much the reconciler had to mend: nothing on a healthy system."""
    stats.incr(f"{_PREFIX}.reconciler.mended", count)
