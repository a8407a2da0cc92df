"""Conservation: what arrived is decided, what was queued has its run, what began has its end, what was said is out.

Each check returns the rows that break one sentence of that; a pipeline that lost and invented nothing has none. The
checks look at whole tables in single statements: 100,000 runs are seconds. Runs that go on are no offence.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Subquery, and_, case, func, not_, or_, select, text
from sqlalchemy.orm import Session

from ci_pipeline import store
from ci_pipeline.stages import COMPLETE, QUEUED, STAGES
from ci_pipeline.store import deliveries, outbox
from ci_pipeline.store.downstream_tables import Delivery
from ci_pipeline.store.tables import Inbound, Outbox, Run, Unannounced

PATIENCE: Final = timedelta(seconds=60)

_STAGE_OF: Final = {event: stage.name for stage in STAGES for event in (stage.running, stage.complete)}
_RUNNING: Final = [stage.running for stage in STAGES]
_ANNOUNCED: Final = ("ignored", "queued", "superseded")


@dataclass(frozen=True, slots=True)
class Finding:
    """One offence.

    Attributes:
        check: name of the check.
        what: the row: `message 12`, `run f26/464` or `outbox <id>`.
        sentence: what is wrong with it.
    """

    check: str
    what: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        messages: number of messages that arrived, by state.
        runs: number of runs.
        going_on: number of them that have not ended.
        completes: number of runs' `complete` messages.
        findings: the offences; none: all is accounted for.
    """

    messages: dict[str, int]
    runs: int
    going_on: int
    completes: int
    findings: tuple[Finding, ...]

    @property
    def summary(self) -> str:
        """The counts, in one line."""
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.messages.items())) or "none"
        verdict = f"{len(self.findings)} offences" if self.findings else "all accounted for"
        return (
            f"{sum(self.messages.values())} messages: {states}; "
            f"{self.runs} runs ({self.going_on} going on), {self.completes} completes; {verdict}"
        )


def audit(*, patience: timedelta = PATIENCE) -> Audit:
    """Look at the whole database, at one moment of it.

    Args:
        patience: how long a message may wait to be published.
    """
    with store.session() as session:
        # One snapshot for all checks: a run that ends between two of them must not look half ended.
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        findings = (*(found for check in CHECKS for found in check(session)), *waiting_too_long(session, patience))
        states = select(Inbound.state, func.count()).group_by(Inbound.state)
        going_on = select(func.count()).where(Run.status.is_(None))
        return Audit(
            messages=dict(session.execute(states).all()),
            runs=session.scalar(select(func.count()).select_from(Run)) or 0,
            going_on=session.scalar(going_on) or 0,
            completes=session.scalar(select(func.count()).where(Outbox.event == COMPLETE)) or 0,
            findings=findings,
        )


def undecided(session: Session) -> Iterator[Finding]:
    """Every message is in a final state."""
    for number in session.scalars(select(Inbound.id).where(Inbound.state == "received").order_by(Inbound.id)):
        yield Finding("undecided", f"message {number}", "it was received and nothing was decided")


def unannounced(session: Session) -> Iterator[Finding]:
    """What was decided about a change is said, or noted to be said: `package.ignore` or `package.queued`."""
    said = select(Outbox.id).where(Outbox.inbound_id == Inbound.id).exists()
    noted = select(func.unnest(Unannounced.messages))
    decided = select(Inbound.id, Inbound.state).where(Inbound.state.in_(_ANNOUNCED), Inbound.repo.is_not(None))
    silent = decided.where(~said, Inbound.id.not_in(noted))
    for row in session.execute(silent.order_by(Inbound.id)):
        yield Finding("unannounced", f"message {row.id}", f"it is {row.state}, and that was never announced")


def queued_without_run(session: Session) -> Iterator[Finding]:
    """Every queued change has its run, and its run is of that change."""
    columns = (Inbound.namespace, Inbound.repo, Inbound.rev, Inbound.branch)
    other = or_(*(column != getattr(Run, column.key) for column in columns))
    rows = select(Inbound.id, Run.branch, Run.number).outerjoin(Run, Run.id == Inbound.run)
    for row in session.execute(rows.where(Inbound.state == "queued", or_(Run.id.is_(None), other))):
        sentence = (
            f"it has the run {_name(row.branch, row.number)}, which is of another change"
            if row.branch
            else "it has no run"
        )
        yield Finding("queued without run", f"message {row.id}", sentence)


def superseded_without_end(session: Session) -> Iterator[Finding]:
    """The run of a superseded change has said its `complete`."""
    said = select(Outbox.id).where(Outbox.run_id == Run.id, Outbox.event == COMPLETE).exists()
    rows = select(Inbound.id, Run.branch, Run.number).join(Run, Run.id == Inbound.run)
    for row in session.execute(rows.where(Inbound.state == "superseded", ~said)):
        sentence = f"it is superseded, but its run {_name(row.branch, row.number)} has never said {COMPLETE}"
        yield Finding("superseded without end", f"message {row.id}", sentence)


def ended_without_complete(session: Session) -> Iterator[Finding]:
    """Every run that has ended has said `complete`, and the last one with the status it has."""
    newest = select(func.max(Outbox.sequence)).where(Outbox.event == COMPLETE).group_by(Outbox.run_id)
    status = Outbox.body["status"].astext.label("said")
    last = select(Outbox.run_id, status).where(Outbox.sequence.in_(newest)).subquery()
    ended = select(Run.branch, Run.number, Run.status, last.c.said).outerjoin(last, last.c.run_id == Run.id)
    wrong = ended.where(Run.status.is_not(None), Run.status.is_distinct_from(last.c.said))
    for row in session.execute(wrong.order_by(Run.id)):
        said = f"its last {COMPLETE} says {row.said}" if row.said else f"it never said {COMPLETE}"
        yield Finding(
            "ended without complete", f"run {_name(row.branch, row.number)}", f"it ended {row.status}, but {said}"
        )


def stages_out_of_step(session: Session) -> Iterator[Finding]:
    """In every pass of a run, `running` and `complete` of a stage alternate, and none is left open at its end."""
    said = _stage_messages()
    twice = and_(said.c.event.in_(_RUNNING), said.c.before.in_(_RUNNING))
    unbegun = and_(said.c.event.not_in(_RUNNING), or_(said.c.before.is_(None), said.c.before.not_in(_RUNNING)))
    over = or_(Run.status.is_not(None), said.c.passes < said.c.last_pass)
    left_open = and_(said.c.event.in_(_RUNNING), said.c.behind.is_(None), over)
    wrong: ColumnElement[str] = case(
        (twice, "is said again before its complete"),
        (unbegun, "is said without a running before it"),
        (left_open, "is not followed by its complete, and the run has ended"),
        else_="",
    )
    rows = select(Run.branch, Run.number, said.c.event, wrong.label("wrong")).join(said, said.c.run_id == Run.id)
    for row in session.execute(rows.where(or_(twice, unbegun, left_open)).order_by(said.c.sequence)):
        yield Finding("stages out of step", f"run {_name(row.branch, row.number)}", f"{row.event} {row.wrong}")


def complete_not_last(session: Session) -> Iterator[Finding]:
    """A run says `complete` after everything else of a pass, and once: it is last, and no two follow each other."""
    window: Any = {"partition_by": Outbox.run_id, "order_by": Outbox.sequence}
    said = (
        select(
            Outbox.run_id,
            Outbox.event,
            Outbox.sequence,
            func.lag(Outbox.event).over(**window).label("before"),
            func.lead(Outbox.event).over(**window).label("behind"),
        )
        .where(Outbox.run_id.is_not(None), Outbox.contract == outbox.OURS)
        .subquery()
    )
    twice = and_(said.c.event == COMPLETE, said.c.before == COMPLETE)
    last = and_(said.c.event.not_in([QUEUED, COMPLETE]), said.c.behind.is_(None), Run.status.is_not(None))
    rows = select(Run.branch, Run.number, said.c.event).join(said, said.c.run_id == Run.id)
    for row in session.execute(rows.where(or_(twice, last)).order_by(said.c.sequence)):
        again = f"{COMPLETE} is said twice for one pass"
        sentence = again if row.event == COMPLETE else f"it has ended, and {row.event} is its last word"
        yield Finding("complete not last", f"run {_name(row.branch, row.number)}", sentence)


def parked(session: Session) -> Iterator[Finding]:
    """The bus has refused no message, and no sink a delivery, that nobody has looked at since."""
    refused = select(Outbox).where(Outbox.parked_at.is_not(None), Outbox.published_at.is_(None))
    for row in session.scalars(refused.order_by(Outbox.sequence)):
        yield Finding("parked", f"outbox {row.id}", f"the bus refused {row.topic}: {row.error}")
    not_taken = select(Delivery).where(deliveries.IS_PARKED).order_by(Delivery.sequence)
    for delivery in session.scalars(not_taken):
        sentence = f"the sink {delivery.sink} did not take {delivery.event}: {delivery.answer}"
        yield Finding("parked", f"delivery {delivery.id}", sentence)


def published_out_of_order(session: Session) -> Iterator[Finding]:
    """The messages of a run go out in the order they became true.

    One that was parked (its error tells, also after its replay) is left out: an operator sends it when it can go.
    """
    sent = (
        select(
            Outbox.run_id,
            Outbox.event,
            Outbox.sequence,
            Outbox.published_at,
            func.lag(Outbox.event).over(partition_by=Outbox.run_id, order_by=Outbox.sequence).label("before"),
            func.lag(func.coalesce(Outbox.published_at, "infinity"))
            .over(partition_by=Outbox.run_id, order_by=Outbox.sequence)
            .label("before_at"),
        )
        .where(Outbox.run_id.is_not(None), Outbox.error == "", not_(Outbox.withheld))
        .subquery()
    )
    rows = select(Run.branch, Run.number, sent.c.event, sent.c.before).join(sent, sent.c.run_id == Run.id)
    for row in session.execute(rows.where(sent.c.published_at < sent.c.before_at).order_by(sent.c.sequence)):
        sentence = f"{row.event} went out before {row.before}, which is older"
        yield Finding("published out of order", f"run {_name(row.branch, row.number)}", sentence)


def waiting_too_long(session: Session, patience: timedelta) -> Iterator[Finding]:
    """Nothing that is to be said waits for longer than `patience`."""
    before = datetime.now(UTC) - patience
    late = select(Outbox).where(outbox.IS_PENDING, Outbox.created_at < before)
    for row in session.scalars(late.order_by(Outbox.sequence)):
        sentence = f"{row.topic} waits to be published since {row.created_at:%Y-%m-%d %H:%M:%S} UTC"
        yield Finding("waiting too long", f"outbox {row.id}", sentence)
    unsaid = select(func.unnest(Unannounced.messages).label("message"), Unannounced.created_at)
    for number, since in session.execute(unsaid.where(Unannounced.created_at < before).order_by(Unannounced.id)):
        sentence = f"it is ignored, and that waits to be announced since {since:%Y-%m-%d %H:%M:%S} UTC"
        yield Finding("waiting too long", f"message {number}", sentence)


CHECKS: Final[tuple[Callable[[Session], Iterable[Finding]], ...]] = (
    undecided,
    unannounced,
    queued_without_run,
    superseded_without_end,
    ended_without_complete,
    stages_out_of_step,
    complete_not_last,
    parked,
    published_out_of_order,
)


def _stage_messages() -> Subquery:
    """Return `running` and `complete` of all stages, each with its stage's neighbours in the same pass of its run.

    A pass ends with the run's `complete`; a run that is cleared and runs again begins the next one.
    """
    stage = case(_STAGE_OF, value=Outbox.event)
    ends = func.sum(case((Outbox.event == COMPLETE, 1), else_=0))
    said = (
        select(
            Outbox.run_id,
            Outbox.event,
            Outbox.sequence,
            stage.label("stage"),
            ends.over(partition_by=Outbox.run_id, order_by=Outbox.sequence).label("passes"),
            ends.over(partition_by=Outbox.run_id).label("last_pass"),
        )
        .where(Outbox.run_id.is_not(None), Outbox.event.in_([COMPLETE, *_STAGE_OF]))
        .subquery()
    )
    window: Any = {"partition_by": (said.c.run_id, said.c.passes, said.c.stage), "order_by": said.c.sequence}
    before, behind = func.lag(said.c.event).over(**window), func.lead(said.c.event).over(**window)
    numbered = select(said, before.label("before"), behind.label("behind"))
    return numbered.where(said.c.event != COMPLETE).subquery()


def _name(branch: str, number: int) -> str:
    return f"{branch}/{number}"
