"""What an operator asks about the builders: who has which since when, who is set aside, who can be reached."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.orm import Session

from ci_pipeline.builders.connection import Connection
from ci_pipeline.builders.inventory import Builder
from ci_pipeline.errors import BuilderError
from ci_pipeline.store import builder_leases
from ci_pipeline.store.builder_tables import BuilderLease, SetAside
from ci_pipeline.store.tables import Run


@dataclass(frozen=True, slots=True)
class Held:
    """A slot that is taken: by which try of a run, since when, and until when if no more is heard of it."""

    run: str
    stage: str
    try_number: int
    since: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class BuilderState:
    """How things are with a builder.

    Attributes:
        name, host, arch, slots, machines: as in the inventory.
        held: what it works on.
        machines_held: how many virtual machines that may have.
        set_aside_until: until when it is left alone; None: it is not.
        failures: how often in a row it could not be reached.
        reason: why it is set aside, or cannot be reached now; "": neither.
        reachable: whether it could be reached just now; None: nobody tried.
    """

    name: str
    host: str
    arch: str
    slots: int
    machines: int
    held: tuple[Held, ...] = ()
    machines_held: int = 0
    set_aside_until: datetime | None = None
    failures: int = 0
    reason: str = ""
    reachable: bool | None = None


def states(session: Session, builders: Sequence[Builder], problems: dict[str, str] | None = None) -> list[BuilderState]:
    """Return the state of each builder.

    Args:
        session: of our database.
        builders: those of the inventory.
        problems: of those that were tried just now, by name, why they cannot be reached; "": they can.
    """
    leases: dict[str, list[BuilderLease]] = {}
    for lease in builder_leases.held(session):
        leases.setdefault(lease.builder, []).append(lease)
    found = [_held_by(session, one, leases.get(one.name, [])) for one in builders]
    aside = {one.builder: one for one in builder_leases.aside(session)}
    found = [_with_aside(one, aside[one.name]) if one.name in aside else one for one in found]
    return [_with_problem(one, problems[one.name]) if problems and one.name in problems else one for one in found]


def _held_by(session: Session, builder: Builder, leases: Sequence[BuilderLease]) -> BuilderState:
    return BuilderState(
        name=builder.name,
        host=builder.host,
        arch=builder.arch,
        slots=builder.slots,
        machines=builder.machines,
        held=tuple(_held(session, leases)),
        machines_held=sum(lease.machines for lease in leases),
    )


def _with_aside(state: BuilderState, aside: SetAside) -> BuilderState:
    return replace(state, set_aside_until=aside.until, failures=aside.failures, reason=aside.reason)


def _with_problem(state: BuilderState, problem: str) -> BuilderState:
    return replace(state, reachable=not problem, reason=problem or state.reason)


def try_all(builders: Sequence[Builder]) -> dict[str, str]:
    """Connect to each builder and run nothing there; return by name why it could not be reached, "" if it could."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        return dict(zip((one.name for one in builders), pool.map(_try, builders), strict=True))


def _try(builder: Builder) -> str:
    try:
        with Connection(builder) as connection:
            connection.run(["true"], seconds=30)
    except BuilderError as error:
        return str(error)
    return ""


def _held(session: Session, leases: Iterable[BuilderLease]) -> Iterable[Held]:
    for lease in leases:
        run = session.get_one(Run, lease.run_id)
        yield Held(f"{run.branch}/{run.number}", lease.stage, lease.try_number, lease.acquired_at, lease.expires_at)
