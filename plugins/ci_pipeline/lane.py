"""The lanes of runs: who waits for whom when there is not enough of something. Pure: no database, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from ci_pipeline.kind import Kind

# How many runs of a branch Airflow has going on at once, and how many of these places a storm leaves to others.
PLACES: Final = 16
LEFT_TO_OTHERS: Final = 4

_STORM_BEHIND: Final = timedelta(hours=1)
_BACKFILL_BEHIND: Final = timedelta(hours=4)
# Airflow's, of the runs of its own backfills.
_AIRFLOWS_BACKFILL: Final = "backfill__"


class Lane(StrEnum):
    """How a run comes to its turn.

    LIVE: at once. STORM: it is one of very many of the same account; they go a few at a time, behind what is live.
    """

    LIVE = "live"
    STORM = "storm"


@dataclass(frozen=True, slots=True)
class Crowd:
    """What there is of a branch.

    Attributes:
        branch: its name.
        oldest: id of the oldest run that is held back.
        going_on: runs that go on, of all lanes.
        storm: those of them in the storm lane.
    """

    branch: str
    oldest: int
    going_on: int = 0
    storm: int = 0

    @property
    def has_room(self) -> bool:
        """Whether one more of the storm leaves places to others. One goes on in any case: nobody waits for ever."""
        return self.storm == 0 or self.going_on < PLACES - LEFT_TO_OTHERS


def next_of(crowds: Sequence[Crowd]) -> Crowd | None:
    """Return the branch whose oldest held-back run goes next: the one that has fewest, of several the longest waiting.

    A branch composes one at a time, so a storm is over soonest when all its branches are busy.
    """
    able = [crowd for crowd in crowds if crowd.has_room]
    return min(able, key=lambda crowd: (crowd.storm, crowd.oldest), default=None)


def behind(kind: Kind, lane: Lane) -> timedelta:
    """Return how much later a run counts as having come than it did.

    Whoever came first goes first; so a live run passes those of a storm that began to wait less than an hour before
    it, and whatever is pushed, none of them waits for ever.
    """
    if kind is Kind.BACKFILL:
        return _BACKFILL_BEHIND
    return _STORM_BEHIND if lane is Lane.STORM else timedelta(0)


def suffix(kind: Kind, lane: Lane) -> str:
    """Return what the id of a run ends with, that all Airflow knows of it may tell how far behind it is."""
    if kind is Kind.BACKFILL:
        return f"-{Kind.BACKFILL}"
    return f"-{Lane.STORM}" if lane is Lane.STORM else ""


def behind_of(run_id: str) -> timedelta:
    """Return what `behind` does, of a run of which only the id is known."""
    if run_id.startswith(_AIRFLOWS_BACKFILL) or run_id.endswith(f"-{Kind.BACKFILL}"):
        return _BACKFILL_BEHIND
    return _STORM_BEHIND if run_id.endswith(f"-{Lane.STORM}") else timedelta(0)
