"""Whose task Airflow begins first where slots are short: that of the run that came first, or counts so."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from airflow.task.priority_strategy import PriorityWeightStrategy

from ci_pipeline import lane

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance

# Weights are numbers of 32 bits: seconds since then last for 68 years.
_BEGINNING: Final = datetime(2026, 1, 1, tzinfo=UTC)


class RunWeight(PriorityWeightStrategy):
    """The weight of all tasks of a run: the sooner the run came, the more.

    Airflow asks when it makes the tasks of a run, and when one is cleared; all it tells then is the run's id. So the
    id says whether a run is of a storm or a backfill: these count as if they came some hours later (`lane.behind`). A
    weight never changes while a task waits, and a run that waits is passed for so long and no longer.
    """

    def get_weight(self, ti: TaskInstance) -> int:
        """Return minus the second the run counts as having come at: below any weight a person would give a task."""
        counts = datetime.now(UTC) + lane.behind_of(ti.run_id)
        return -round((counts - _BEGINNING).total_seconds())
