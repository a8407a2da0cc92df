"""Reads the trace of a change: a fixed number of queries, however much there is of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session, defer, joinedload

from ci_pipeline import decisions
from ci_pipeline.datahub import flakes, model
from ci_pipeline.insight import gates, storm_state, verdict
from ci_pipeline.insight.keys import Subject
from ci_pipeline.insight.trace import File, Message, Said, Test, Trace, Try, change_of, name_of
from ci_pipeline.insight.verdict import Facts
from ci_pipeline.outcome import TestOutcome
from ci_pipeline.settings import Settings
from ci_pipeline.store import builder_leases, leases, runs, unannounced
from ci_pipeline.store.tables import Artifact, Inbound, Outbox, Run, StageResult, TestResult

# More than these are counted and not listed: a conformance run has thousands of tests.
MOST_TESTS: Final = 500
MOST_FILES: Final = 300
MOST_SAID: Final = 300
MOST_MESSAGES: Final = 50
_BODY_SHOWN: Final = 4000


def read(session: Session, settings: Settings, subject: Subject) -> Trace:
    """Read the trace of a run, or of a message that led to none."""
    return _of_run(session, settings, subject) if isinstance(subject, Run) else _of_message(session, settings, subject)


def _of_message(session: Session, settings: Settings, row: Inbound) -> Trace:
    to_say = decisions.ignored(settings, unannounced.waiting(session, message=row.id))
    return Trace(
        what=name_of(row),
        key=str(row.id),
        verdict=verdict.of_message(row.id, row.state, row.reason),
        change=change_of(row),
        created_at=row.received_at,
        messages=(_message(row),),
        said=_said(session, Outbox.inbound_id == row.id) + tuple(_told(one, one.body["status"]) for one in to_say),
    )


def _of_run(session: Session, settings: Settings, run: Run) -> Trace:
    messages = _messages(session, run)
    tries = _tries(session, run)
    current = list(runs.current_tries(tries).values())
    change = runs.change_of(run)
    facts = Facts(
        what=str(change),
        gating=runs.is_gating(run, settings),
        status=run.status,
        reason=run.reason,
        fired=run.fired_at is not None,
        superseded=any(one.state == "superseded" for one in messages) and not tries,
        lease_holder=_lease_holder(session, run) if run.status is None else "",
        waits_for=builder_leases.waits_for(session, run.id) if run.status is None else "",
        held_back=storm_state.why_held_back(session, run),
    )
    known = {key: value for one in current for key, value in one.outputs.items()}
    nvr = str(known.get("nvr") or known.get("original_spec_nvr") or "")
    return Trace(
        what=str(change),
        key=f"{run.branch}/{run.number}",
        verdict=verdict.of_run(facts, current, settings),
        change=change,
        run=run.run_id,
        dag=run.dag_id,
        build_id=run.number,
        nvr=nvr,
        url=f"{settings.airflow.url}/dags/{quote(run.dag_id)}/runs/{quote(run.run_id, safe='')}",
        status=run.status,
        reason=run.reason,
        created_at=run.created_at,
        fired_at=run.fired_at,
        ended_at=run.ended_at,
        pruned_at=run.pruned_at,
        messages=messages,
        tries=tries,
        tests=_tests(session, run, current),
        files=_files(session, run, current, settings),
        said=_said(session, Outbox.run_id == run.id),
        gating=gates.read(session, settings, run, nvr),
    )


def _messages(session: Session, run: Run) -> tuple[Message, ...]:
    query = select(Inbound).where(Inbound.run == run.id).order_by(Inbound.id).limit(MOST_MESSAGES)
    return tuple(_message(row) for row in session.scalars(query))


def _tries(session: Session, run: Run) -> tuple[Try, ...]:
    whole = joinedload(StageResult.reused_from).joinedload(StageResult.run)
    query = select(StageResult).where(StageResult.run_id == run.id).order_by(StageResult.id)
    rows = list(session.scalars(query.options(whole)))
    current = {row.id for row in runs.current_tries(rows).values()}
    counted = select(TestResult.stage_result_id, TestResult.outcome, func.count()).where(
        TestResult.stage_result_id.in_([row.id for row in rows])
    )
    tests: dict[int, dict[str, int]] = {}
    for row, outcome, count in session.execute(counted.group_by(TestResult.stage_result_id, TestResult.outcome)):
        tests.setdefault(row, {})[outcome] = count
    return tuple(_try(row, tests.get(row.id, {}), current=row.id in current) for row in rows)


def _try(row: StageResult, tests: dict[str, int], *, current: bool) -> Try:
    took = (row.ended_at or datetime.now(UTC)) - row.started_at
    return Try(
        id=row.id,
        stage=row.stage,
        try_number=row.try_number,
        status=row.status,
        reason=row.reason,
        fault=row.fault,
        started_at=row.started_at,
        ended_at=row.ended_at,
        seconds=round(took.total_seconds(), 3),
        tool_seconds=row.tool_seconds,
        reused_from=model.id_of(row.reused_from.run) if row.reused_from else "",
        outputs=row.outputs,
        tests=tests,
        current=current,
    )


def _tests(session: Session, run: Run, tries: Sequence[Try]) -> tuple[Test, ...]:
    stages = {one.id: one.stage for one in tries}
    worst_first = case(
        (TestResult.outcome.in_([TestOutcome.FAILED, TestOutcome.ERROR]), 0),
        (TestResult.outcome.in_([TestOutcome.QUARANTINED, TestOutcome.PASSED_ON_RERUN]), 1),
        (TestResult.outcome == TestOutcome.SKIPPED, 3),
        else_=2,
    )
    query = select(TestResult).where(TestResult.stage_result_id.in_(stages))
    found = list(session.scalars(query.order_by(worst_first, TestResult.id).limit(MOST_TESTS)))
    rates = flakes.of_run(session, run, ((stages[row.stage_result_id], row.name, row.outcome) for row in found))
    return tuple(_test(row, stages[row.stage_result_id], rates) for row in found)


def _test(row: TestResult, stage: str, rates: flakes.Rates) -> Test:
    return Test(stage=stage, **dict(model.Test.of(row, rates.get((stage, row.name)))))


def _files(session: Session, run: Run, tries: Sequence[Try], settings: Settings) -> tuple[File, ...]:
    stages = {one.id: one.stage for one in tries}
    query = select(Artifact).where(Artifact.stage_result_id.in_(stages)).order_by(Artifact.id).limit(MOST_FILES)
    return tuple(
        File(stage=stages[row.stage_result_id], **dict(model.Artifact.of(row, run, settings)))
        for row in session.scalars(query)
    )


def _said(session: Session, whose: Any) -> tuple[Said, ...]:
    says = (
        func.coalesce(Outbox.body["status"].astext, Outbox.body["test"]["result"].astext),
        func.coalesce(Outbox.body["summary"].astext, Outbox.body["comment"].astext),
    )
    query = select(Outbox, *says).options(defer(Outbox.body)).where(whose)
    rows = session.execute(query.order_by(Outbox.sequence).limit(MOST_SAID))
    return tuple(_told(row, status or "", summary or "") for row, status, summary in rows)


def _told(row: Outbox, status: str, summary: str = "") -> Said:
    return Said(
        id=str(row.id),
        event=row.event,
        topic=row.topic,
        status=status,
        summary=summary,
        created_at=row.created_at,
        published_at=row.published_at,
        parked_at=row.parked_at,
        error=row.error,
    )


def _lease_holder(session: Session, run: Run) -> str:
    holder = leases.holder_of(session, leases.compose_of(run.branch))
    return f"{holder.branch}/{holder.number}" if holder and holder.id != run.id else ""


def _message(row: Inbound) -> Message:
    return Message(
        number=row.id,
        message_id=row.message_id,
        topic=row.topic,
        state=row.state,
        reason=row.reason,
        agent=row.agent,
        received_at=row.received_at,
        body=row.body[:_BODY_SHOWN],
    )
