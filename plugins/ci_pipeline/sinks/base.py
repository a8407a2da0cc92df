"""What every sink has: it delivers parcels, and says of each whether it is in."""

from collections.abc import Sequence
from typing import Protocol

from ci_pipeline.errors import SinkError
from ci_pipeline.sinks.parcel import Parcel


class Sink(Protocol):
    """A sink that can be asked to take parcels."""

    @property
    def at_once(self) -> int:
        """How many parcels it takes with one request."""

    def deliver(self, parcels: Sequence[Parcel]) -> list[SinkError | None]:
        """Deliver parcels, at most `at_once`. Delivering one again does no harm.

        Returns:
            What is wrong with each, in order; None: the sink has it.

        Raises:
            SinkUnreachable: the sink takes nothing now.
            SinkFailed: it answered all of them with an error.
            SinkRefused: it refuses all of them.
        """
