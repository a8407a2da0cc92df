"""From what a person has at hand to what it means: a run id, `f26/464`, an NVR, a revision, the id of a message."""

import re
from collections.abc import Iterable, Iterator
from typing import Final
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from ci_pipeline.errors import StoreError
from ci_pipeline.store.tables import Inbound, Outbox, Run, StageResult

MOST: Final = 20
ADVICE: Final = (
    "give a run id, <branch>/<number>, an NVR, at least 7 digits of a revision, or the id or number of a message"
)
_LONGEST: Final = 300
_LARGEST_NUMBER: Final = 2**63 - 1
_NUMBERED: Final = re.compile(r"(?P<branch>.+)/(?P<number>[0-9]{1,18})")
_REV: Final = re.compile(r"[0-9a-f]{7,40}")
_NVR: Final = re.compile(r"[^/\s]+-[^/\s-]+-[^/\s-]+")

Subject = Run | Inbound


def find(session: Session, key: str, *, dag: str | None = None) -> list[Subject]:
    """Return what a key may mean: runs, and messages that led to none, the newest first; at most `MOST` of each.

    Args:
        session: an open transaction.
        key: what was typed, pasted or linked; hostile.
        dag: only runs of this DAG: Airflow's run ids are unique per DAG.

    Raises:
        StoreError: nothing is known by that name.
    """
    wanted = key.strip()
    usable = 0 < len(wanted) <= _LONGEST and wanted.isprintable()
    runs: dict[int, Run] = {}
    messages: dict[int, Inbound] = {}
    for query in _queries(wanted) if usable else ():
        for row in session.scalars(query.limit(MOST)):
            if isinstance(row, Run):
                runs[row.id] = row
            else:
                messages[row.id] = row
    _follow(session, runs, messages)
    chosen = [run for run in runs.values() if dag is None or run.dag_id == dag]
    found = [*_newest(chosen), *_newest(messages.values() if dag is None else ())]
    if not found:
        raise StoreError(f"nothing is known by {wanted[:80]!r}; {ADVICE}")
    return found


def _follow(session: Session, runs: dict[int, Run], messages: dict[int, Inbound]) -> None:
    """Put the runs that messages led to in the place of the messages."""
    led = {row.run for row in messages.values() if row.run is not None}
    for run in session.scalars(select(Run).where(Run.id.in_(led))) if led else ():
        runs[run.id] = run
    for number in [number for number, row in messages.items() if row.run is not None]:
        del messages[number]


def _queries(key: str) -> Iterator[Select[Run] | Select[Inbound]]:
    yield select(Run).where(Run.run_id == key).order_by(Run.id.desc())
    yield select(Inbound).where(Inbound.message_id == key).order_by(Inbound.id.desc())
    if numbered := _NUMBERED.fullmatch(key):
        yield select(Run).where(Run.branch == numbered["branch"], Run.number == int(numbered["number"]))
    if _REV.fullmatch(key):
        yield select(Run).where(Run.rev.startswith(key)).order_by(Run.id.desc())
        pushed = select(Inbound).where(Inbound.rev.startswith(key), Inbound.run.is_(None))
        yield pushed.order_by(Inbound.id.desc())
    if _NVR.fullmatch(key):
        yield from (_built(named, key) for named in (StageResult.nvr, StageResult.original_spec_nvr))
    if key.isascii() and key.isdecimal() and int(key) <= _LARGEST_NUMBER:
        yield select(Inbound).where(Inbound.id == int(key))
    if said := _uuid(key):
        yield select(Run).join(Outbox, Outbox.run_id == Run.id).where(Outbox.id == said)
        yield select(Inbound).join(Outbox, Outbox.inbound_id == Inbound.id).where(Outbox.id == said)


def _built(named: InstrumentedAttribute[str], nvr: str) -> Select[Run]:
    """Return the runs that built an NVR."""
    tries = select(StageResult.run_id).where(named == nvr)
    return select(Run).where(Run.id.in_(tries)).order_by(Run.id.desc())


def _uuid(key: str) -> UUID | None:
    try:
        return UUID(key)
    except ValueError:
        return None


def _newest(rows: Iterable[Subject]) -> list[Subject]:
    return sorted(rows, key=lambda row: row.id, reverse=True)
