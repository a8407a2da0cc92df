"""What is said of the decision about a push: `package.ignore` or `package.queued`."""

from collections.abc import Sequence
from typing import Final

from ci_pipeline import addresses
from ci_pipeline.bus import events
from ci_pipeline.bus.events import RunFacts
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import IGNORE, QUEUED
from ci_pipeline.store import ledger, outbox
from ci_pipeline.store.ledger import Decided
from ci_pipeline.store.outbox import Saying
from ci_pipeline.store.tables import Outbox
from ci_pipeline.store.unannounced import Ignored

# The DAG that listens.
TRIGGER_NAME: Final = "ci-pipeline-trigger"
_DECIDED: Final = {"ignored": IGNORE, "queued": QUEUED}


def is_said(row: Decided) -> bool:
    """Tell whether a decision is announced.

    A duplicate or a dead letter is not: the first is announced already, the second names no change.
    """
    return row.state in _DECIDED and row.repo is not None


def saying(settings: Settings, row: Decided, *, trigger_run_id: str) -> Saying:
    """Return what is to be said of a decision; it is not checked against its schema.

    Args:
        settings: what the message is made with.
        row: a row of the ledger, with its number.
        trigger_run_id: the DAG run that listened when it came; the message links to it.
    """
    event = _DECIDED[row.state]
    body = events.body(event, _facts(settings, row, addresses.run_in_airflow(settings, TRIGGER_NAME, trigger_run_id)))
    return Saying(
        key=f"inbound {row.id}: {event}",
        event=event,
        topic=body["topic"],
        body=body,
        run=row.run,
        inbound=row.id,
        withheld=not settings.contracts.ci_pipeline,
    )


def ignored(settings: Settings, pushes: Sequence[Ignored]) -> list[Outbox]:
    """Return what is to be said of ignored pushes, as rows that are not in the database."""
    return [
        outbox.made(saying(settings, one.row, trigger_run_id=one.trigger_run_id), created_at=one.since)
        for one in pushes
    ]


def _facts(settings: Settings, row: Decided, build_url: str) -> RunFacts:
    change = ledger.change_of(row)
    return RunFacts(
        ci_name=TRIGGER_NAME,
        change=change,
        ref=settings.ref_of(change.branch),
        build_id=row.id,
        build_url=build_url,
        topic_prefix=settings.bus.topic_prefix,
        status=Status.SUCCESS,
    )
