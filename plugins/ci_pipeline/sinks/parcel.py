"""What a sink is told, as plain data: made of the rows when it is delivered. Each kind of sink words it its own way."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from sqlalchemy.orm import Session

from ci_pipeline.bus.schemas import testcase_of
from ci_pipeline.datahub import queries
from ci_pipeline.datahub.model import Run, RunResult, id_of
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import COMPLETE, STEPS
from ci_pipeline.store import deliveries, runs
from ci_pipeline.store.downstream_tables import Delivery
from ci_pipeline.store.tables import StageResult

_SUBJECT: Final = ("nvr", "original_spec_nvr", "compose_rev")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A delivery with all that any sink needs.

    Attributes:
        id: of the delivery: the same in every try.
        event: `package.complete`, `package.skipped`.
        testcase: the topic on which the end of this is announced, whatever the event.
        stage: the stage it is about; "" for the end of the run.
        status: of what happened: that of a try or a run, `QUEUED` or `RUNNING`.
        fault: whose fault a FAILURE is.
        at: when it happened.
        again: whether it was tried before: the sink may have it already.
        subject: `nvr`, `original_spec_nvr`, `compose_rev`, `image_name`: those that are known.
        group: an id of the run, in all its deliveries to all sinks.
        result: the try; None for the end of a run, and while a stage is queued.
    """

    id: str
    event: str
    testcase: str
    stage: str
    status: str
    fault: str
    reason: str
    at: datetime
    again: bool
    arch: str
    subject: dict[str, str]
    group: str
    run: Run
    result: RunResult | None

    @classmethod
    def of(cls, session: Session, settings: Settings, row: Delivery) -> Self:
        """Read a delivery and what it is about."""
        prefix = row.event.rpartition(".")[0]
        stage = row.result.stage if row.result else STEPS[prefix][0].name if prefix else ""
        return cls(
            id=str(row.id),
            event=row.event,
            testcase=testcase_of(prefix or COMPLETE, settings.bus.topic_prefix),
            stage=stage,
            status=row.status,
            fault=_fault(session, row),
            reason=row.result.reason if row.result else row.run.reason,
            at=row.at,
            again=row.attempts > 1,
            arch=settings.arch_of(row.run.branch),
            subject=_subject(session, row),
            group=str(deliveries.identity_of(row.run)),
            run=Run(**Run.fields_of(row.run, settings)),
            result=_result(session, settings, row.result) if row.result else None,
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as the JSON of our API has it; where a file is on our own machine is nobody's business."""
        local = {"artifacts": {"__all__": {"path"}}}
        return {
            "id": self.id,
            "event": self.event,
            "status": self.status,
            "at": self.at.isoformat(),
            "run": self.run.model_dump(mode="json"),
            "result": self.result.model_dump(mode="json", exclude=local) if self.result else None,
        }


def _result(session: Session, settings: Settings, row: StageResult) -> RunResult:
    return queries.result(session, settings, f"{id_of(row.run)}/{row.stage}/{row.try_number}")


def _subject(session: Session, row: Delivery) -> dict[str, str]:
    """Return what it is about: as a try that has ended wrote it down, else as its run knows it by now."""
    known = runs.outputs(session, row.run_id)
    subject = {name: str(known.get(name, "")) for name in (*_SUBJECT, "image_name")}
    if row.result is not None and row.result.status is not None:
        subject |= {name: getattr(row.result, name) for name in _SUBJECT}
        subject["image_name"] = str(row.result.outputs.get("image_name", subject["image_name"]))
    return {name: value for name, value in subject.items() if value}


def _fault(session: Session, row: Delivery) -> str:
    if row.status != Status.FAILURE:
        return ""
    if row.result is not None:
        return row.result.fault
    failed = (one for one in runs.latest_results(session, row.run_id).values() if one.status == Status.FAILURE)
    return next((one.fault for one in failed), str(Fault.NONE))
