"""What a run is for, and what follows from that."""

from enum import StrEnum


class Kind(StrEnum):
    """Why there is a run.

    PUSH: a packager pushed its change. MANUAL: someone started it in Airflow. BACKFILL: someone wants to know how a
    past revision does. Whatever its revision, a backfill is a *side run*: the branch stays as it is.
    """

    PUSH = "push"
    MANUAL = "manual"
    BACKFILL = "backfill"

    @property
    def promotes(self) -> bool:
        """Whether the branch moves on when such a run goes well: its packages, its ref, its images."""
        return self is not Kind.BACKFILL


SIDE_RUN = "a backfill's compose is never promoted, so no image is made of it"
