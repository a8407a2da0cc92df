"""When a branch's DAG runs: never by itself, and in a backfill once for every known revision of the range."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from airflow.exceptions import InvalidPartitionKeyError
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable
from pendulum import instance as pendulum

from ci_pipeline import store
from ci_pipeline.change import Change, run_id_of
from ci_pipeline.errors import ChangeError
from ci_pipeline.store import revisions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.utils.types import DagRunType
    from pendulum import DateTime

MOST: Final = 1000


class RevisionTimetable(Timetable):
    """Partitions of a branch: its known revisions, each at the time of its commit.

    The api-server and Airflow's command line ask for them, so they come from our database. Airflow tells partitions by
    their date: the index gives every revision of a branch a moment of its own.

    Args:
        branch: the branch.
    """

    partitioned = True
    periodic = True
    can_be_scheduled = False
    # No run has a logical date; a backfilled one stands in the grid where its commit stands in history.
    run_ordering: Sequence[str] = ("run_after",)
    description = "One run per change: the trigger starts it when it is pushed, a backfill for a past one"

    def __init__(self, *, branch: str) -> None:
        """Take the branch."""
        self.branch = branch

    def serialize(self) -> dict[str, Any]:
        """Return what `deserialize` needs."""
        return {"branch": self.branch}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        """Make the timetable of a stored DAG."""
        return cls(branch=data["branch"])

    @property
    def summary(self) -> str:
        """What the UI shows as the DAG's schedule."""
        return "every change"

    def next_dagrun_info_v2(
        self, *, last_dagrun_info: DagRunInfo | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return None: the scheduler starts nothing."""
        return None

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """Return the moment a run by hand is asked for."""
        return DataInterval.exact(run_after)

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterator[DagRunInfo]:
        """Yield a run per known revision of a range of commit times, both ends included, the oldest first.

        Raises:
            InvalidBackfillDateRange: there are more than 1,000 of them.
        """
        # Whoever names a second means all of it; the microseconds of a revision's moment are of our making.
        until = latest if latest.microsecond else latest + timedelta(seconds=1, microseconds=-1)
        with store.session() as session:
            rows = revisions.between(session, self.branch, earliest, until, limit=MOST + 1)
        if len(rows) > MOST:
            raise _too_many(self.branch)
        now = datetime.now(UTC)
        for change, row in zip(revisions.changes_of(rows), rows, strict=True):
            yield DagRunInfo(
                # A commit may claim to be of the future; its run must not wait until then.
                run_after=pendulum(min(row.committed_at, now)),
                data_interval=None,
                partition_date=pendulum(row.committed_at),
                partition_key=change.partition_key,
            )

    def generate_run_id(
        self,
        *,
        run_type: DagRunType,
        run_after: DateTime,
        data_interval: DataInterval | None,
        partition_key: str | None = None,
        **extra: Any,
    ) -> str:
        """Return an id of its own for every try of a revision: `backfill__rpms.mesa-35fdde9-f26-20171021T162530.5`."""
        if partition_key is None:
            return super().generate_run_id(run_type=run_type, run_after=run_after, data_interval=data_interval, **extra)
        change = self._change(partition_key)
        return run_type.generate_run_id(suffix=run_id_of(change, f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"))

    def _decode_partition_date(self, partition_key: str) -> datetime:
        """Return the moment of the revision a partition key names.

        Raises:
            InvalidPartitionKeyError: it names none, or one that is not in the index. Whoever asks is told with a 400.
        """
        change = self._change(partition_key)
        with store.session() as session:
            moment = revisions.moment(session, change)
        if moment is None:
            msg = f"{change} is not a known revision; `ci-pipeline revisions import` takes it up"
            raise InvalidPartitionKeyError(msg)
        return moment

    def _change(self, partition_key: str) -> Change:
        try:
            return Change.of_partition(partition_key, branch=self.branch)
        except ChangeError as error:
            raise InvalidPartitionKeyError(str(error)) from error


def _too_many(branch: str) -> Exception:
    # Every task imports this module; only a backfill needs Airflow's database models.
    from airflow.models.backfill import InvalidBackfillDateRange  # noqa: PLC0415

    return InvalidBackfillDateRange(
        f"more than {MOST} revisions of {branch} are in this range; take a shorter one, then the next"
    )
