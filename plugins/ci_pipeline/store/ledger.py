"""The ledger: every message that arrives becomes one row with one final state and a reason."""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from hashlib import sha256
from operator import attrgetter
from typing import Final, cast

from sqlalchemy import Select, Table, func, select, tuple_, update
from sqlalchemy import Sequence as DatabaseSequence
from sqlalchemy.orm import Session, make_transient_to_detached

from ci_pipeline import rules
from ci_pipeline.bus import inbound
from ci_pipeline.bus.inbound import Push
from ci_pipeline.change import Change
from ci_pipeline.errors import ChangeError, StoreError
from ci_pipeline.settings import Settings
from ci_pipeline.store import bulk, queueing
from ci_pipeline.store.tables import Inbound, Run, StageResult

_TABLE: Final = cast("Table", Inbound.__table__)
_NUMBERS: Final = DatabaseSequence("inbound_id_seq")
# What is written of a row: all but what the database fills in.
_COLUMNS: Final = tuple(column.name for column in _TABLE.columns if column.name != "received_at")
_VALUES: Final = attrgetter(*_COLUMNS)
# What is known of a row once its message is read.
_READ: Final = tuple(name for name in _COLUMNS if name not in {"id", "state", "run"})
_MAX_BODY_KEPT = 64 * 1024
# The key of an advisory lock; any fixed number would do.
_LEDGER_LOCK = 0x6C656467


@dataclass(slots=True)
class Settled:
    """A new row that has its final state when its message is read: one of the ORM's costs several times as much.

    Its fields are the columns of `Inbound`, but for when it came, which the database knows.
    """

    message_id: str
    topic: str
    digest: str
    body: str
    state: str = ""
    reason: str = ""
    namespace: str | None = None
    repo: str | None = None
    rev: str | None = None
    branch: str | None = None
    agent: str = ""
    run: int | None = None
    id: int = 0


# A row of the ledger: of the ORM, if more can become of it.
Decided = Inbound | Settled
# A row, and the push it is of if that is wanted.
_Read = tuple[Decided, Push | None]


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came off the bus.

    `ignore_reason` is why it is not even read, whatever it says; empty: it is.
    """

    topic: str
    message_id: str
    raw: bytes
    ignore_reason: str = ""


def record(session: Session, messages: Iterable[Received], settings: Settings) -> list[Decided]:
    """Write messages into the ledger, decide about each, and create the runs of those that are queued.

    Args:
        session: an open transaction. Acknowledge the messages only after it is committed.
        messages: what arrived, in order.
        settings: which packages and branches are watched.

    Returns:
        The new rows, in order, each with its final state. A push of a branch that several branches of the pipeline
        build (for other architectures) has a row for each of them. When they came only the database knows.
    """
    read = [one for message in messages for one in _read(message, settings)]
    return _decide(session, [_wanted(settled, push) if push else (settled, None) for settled, push in read], settings)


def redecide(session: Session, row: Inbound, settings: Settings) -> list[Decided]:
    """Read a dead letter again and decide about it anew, on its own row. It may stay dead, with the new reason.

    Returns:
        Its row, and new ones for further branches of the pipeline that build what was pushed.

    Args:
        session: an open transaction.
        row: a dead letter, locked.
        settings: which packages and branches are watched.

    Raises:
        StoreError: it is no dead letter, or what is kept of it is not, byte for byte, what arrived.
    """
    if row.state != "dead":
        msg = f"message {row.id} is {row.state}, not dead; only a dead letter can be replayed"
        raise StoreError(msg)
    raw = row.body.encode()
    if sha256(raw).hexdigest() != row.digest:
        msg = f"message {row.id} cannot be replayed: {_why_not_whole(raw)}; have it sent again"
        raise StoreError(msg)
    (first, push), *others = _read(Received(row.topic, row.message_id, raw), settings)
    _copy(first, row)
    return _decide(session, [(row, push), *(_wanted(*other) for other in others)], settings)


def superseded_by(session: Session, row: Inbound) -> list[Run]:
    """Mark the changes superseded whose place a newly queued one takes.

    Those are the ones queued before it, of the same package and branch, whose run has not begun. The runs are locked
    first: a build that begins at the same moment has either begun already, or finds its run superseded.

    Returns:
        Their runs, locked, the oldest first; the caller ends them in this transaction.
    """
    older = _queued(row).where(Inbound.id < row.id, Run.status.is_(None)).order_by(Run.id)
    waiting = session.scalars(older.with_for_update(of=Run)).all()
    # A statement of its own, and after the locks: what the locking one saw may be of the time before it waited.
    begun = select(StageResult.run_id).where(StageResult.run_id == Run.id).exists()
    left = _queued(row).where(Run.id.in_([run.id for run in waiting]), Run.status.is_(None), ~begun)
    replaced = list(session.scalars(left.order_by(Run.id).execution_options(populate_existing=True)))
    marked = update(Inbound).where(Inbound.state == "queued", Inbound.run.in_([run.id for run in replaced]))
    session.execute(marked.values(state="superseded", reason=why_superseded(row)))
    return replaced


def with_rivals(session: Session, rows: Iterable[Decided]) -> list[Inbound]:
    """Return, of rows, those whose change may supersede another one: more than one of its place is queued."""
    queued = [row for row in rows if isinstance(row, Inbound) and row.state == "queued"]
    if not queued:
        return []
    columns = (Inbound.namespace, Inbound.repo, Inbound.branch)
    waiting = select(*columns).join(Run, Inbound.run == Run.id).where(Inbound.state == "queued", Run.status.is_(None))
    several = waiting.where(tuple_(*columns).in_([_place(row) for row in queued])).group_by(*columns)
    places = {tuple(place) for place in session.execute(several.having(func.count() > 1))}
    return [row for row in queued if _place(row) in places]


def change_of(row: Decided) -> Change:
    """Return the change a row is about; it has to be about one."""
    return Change.parse(namespace=row.namespace, repo=row.repo, rev=row.rev, branch=row.branch)


def why_superseded(row: Inbound) -> str:
    """Return why the changes that wait in front of a newly queued one are not run."""
    return f"superseded by {(row.rev or '')[:7]} (message {row.id})"


def lock(session: Session) -> None:
    """Let one intake at a time decide what is queued, until the transaction ends.

    Two at once could queue a change twice, and each would miss that the other's change supersedes its own.
    """
    session.execute(select(func.pg_advisory_xact_lock(_LEDGER_LOCK)))


def _read(message: Received, settings: Settings) -> list[tuple[Settled, Push | None]]:
    """Read a message; return its row, and those of further branches that build what was pushed.

    A row has its final state, unless its push is wanted.
    """
    row = Settled(
        topic=_storable(message.topic.encode(errors="replace")),
        message_id=_storable(message.message_id.encode(errors="replace")),
        digest=sha256(message.raw).hexdigest(),
        body=_storable(message.raw[:_MAX_BODY_KEPT]),
    )
    if message.ignore_reason:
        row.state, row.reason = "ignored", message.ignore_reason
        return [(row, None)]
    try:
        push = inbound.read(message.topic, inbound.decode(message.raw), message_id=message.message_id)
    except ChangeError as error:
        row.state, row.reason = "dead", str(error)
        return [(row, None)]
    first, *others = _by_branch(push, settings)
    return [_judge(row, first, settings), *(_judge(copy(row), other, settings) for other in others)]


def _by_branch(push: Push, settings: Settings) -> list[Push]:
    """Return the push as each branch of the pipeline that builds it has it; as it is when it is nobody's."""
    change = push.change
    names = settings.built_from(change.branch) or [change.branch]
    if names == [change.branch]:
        return [push]
    pushes = [replace(push, change=change.model_copy(update={"branch": name})) for name in names]
    is_wanted = rules.decide(pushes[0].change, settings, ignore_reason=push.ignore_reason).state == "queued"
    return pushes if is_wanted else pushes[:1]


def _judge(row: Settled, push: Push, settings: Settings) -> tuple[Settled, Push | None]:
    """Write on a row what it is about; decide about it unless it is wanted."""
    change = push.change
    row.namespace, row.repo, row.rev, row.branch = change.namespace, change.repo, change.rev, change.branch
    row.agent = push.agent
    decision = rules.decide(change, settings, ignore_reason=push.ignore_reason)
    if decision.state == "queued":
        return row, push
    row.state, row.reason = decision.state, decision.reason
    return row, None


def _wanted(read: Settled, push: Push | None) -> _Read:
    """Return a row of which it is not known yet what becomes of it."""
    row = Inbound()
    _copy(read, row)
    return row, push


def _copy(read: Settled, row: Inbound) -> None:
    """Write on a row all that was read but its number, and its state only if that is the final one."""
    for name in _READ:
        setattr(row, name, getattr(read, name))
    if read.state:
        row.state = read.state


def _decide(session: Session, read: Sequence[_Read], settings: Settings) -> list[Decided]:
    """Decide about what is wanted, and write all rows."""
    wanted = [queueing.Wanted(row, push) for row, push in read if push and isinstance(row, Inbound)]
    if wanted:
        # Before the rows have their numbers: of two changes of a package the one with the higher number is newer.
        lock(session)
    rows = [row for row, _ in read]
    new = [row for row in rows if isinstance(row, Settled) or row not in session]
    for row, number in zip(new, _numbers(session, len(new)), strict=True):
        row.id = number
    if wanted:
        queueing.decide(session, wanted, settings.storm)
    _insert(session, new)
    session.flush()
    return rows


def _numbers(session: Session, count: int) -> list[int]:
    """Return the next numbers of rows of the ledger."""
    drawn = select(_NUMBERS.next_value()).select_from(func.generate_series(1, count))
    return sorted(session.scalars(drawn)) if count else []


def _insert(session: Session, rows: Sequence[Decided]) -> None:
    """Write new rows. The session knows of them only what can change yet: that those of queued changes are there."""
    bulk.insert_all(session, _TABLE, _COLUMNS, list(map(_VALUES, rows)))
    for row in rows:
        if isinstance(row, Inbound) and row.state == "queued":
            make_transient_to_detached(row)
            session.add(row)


def _place(row: Inbound) -> tuple[str | None, ...]:
    return (row.namespace, row.repo, row.branch)


def _queued(row: Inbound) -> Select[Run]:
    """Return the runs of queued changes of a row's package and branch."""
    same = select(Run).join(Inbound, Inbound.run == Run.id).where(Inbound.state == "queued")
    return same.filter(Inbound.namespace == row.namespace, Inbound.repo == row.repo, Inbound.branch == row.branch)


def _why_not_whole(kept: bytes) -> str:
    if len(kept) >= _MAX_BODY_KEPT:
        return f"it was longer than the {_MAX_BODY_KEPT // 1024} KiB that are kept of a message"
    return "it was not UTF-8 text, and is kept in an escaped form"


def _storable(raw: bytes) -> str:
    """Return bytes as text PostgreSQL can hold: no NUL, nothing that is not UTF-8."""
    return raw.decode("utf-8", errors="backslashreplace").replace("\x00", "\\x00")
