"""What happens in a run, as one record: every contract and every sink tells the same."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ci_pipeline.outcome import Status
from ci_pipeline.stages import Stage
from ci_pipeline.store.tables import Run, StageResult


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened in a run.

    Attributes:
        run: the run.
        event: the event of the message contract (`package.running`, `complete`), or that a stage was skipped
            (`image.skipped`), of which that contract says nothing.
        status: what the message says: of the run so far, once a stage has ended.
        stage: the stage it is about; None for the end of a run.
        result: the try it is about; None for the end of a run, and while a stage is queued.
        ordinal: tells it from the same event said before in its run: a re-run says its stages again.
    """

    run: Run
    event: str
    status: Status
    stage: Stage | None
    result: StageResult | None
    ordinal: int

    @property
    def key(self) -> str:
        """What happened, in words that are the same however often they are said."""
        return f"run {self.run.id}: {self.event} {self.ordinal}"

    @property
    def phase(self) -> str:
        """`queued`, `running`, `complete` or `skipped`."""
        return self.event.rpartition(".")[2]

    @property
    def at(self) -> datetime:
        """When it happened."""
        ended_at = self.result.ended_at if self.result else self.run.ended_at
        return (ended_at if self.phase in {"complete", "skipped"} else None) or datetime.now(UTC)

    @property
    def outcome(self) -> str:
        """The status of what happened: of the try itself where there is one that has ended."""
        if self.phase in {"queued", "running"}:
            return self.phase.upper()
        return (self.result.status if self.result else None) or self.status
