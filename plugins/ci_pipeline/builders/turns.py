"""Whose turn it is: a try of a stage takes a free builder, or is told what it waits for."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from ci_pipeline.builders.choosing import Load, Situation, Wanted, after, choose
from ci_pipeline.builders.inventory import Builder
from ci_pipeline.settings import Settings
from ci_pipeline.store import builder_leases
from ci_pipeline.store.builder_leases import Ticket
from ci_pipeline.store.tables import Run
from ci_pipeline.transfers import TRANSFERS


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of asking: `builder` is held now; if there is none, what the try `waits_for`, in a sentence."""

    builder: Builder | None = None
    waits_for: str = ""


def is_remote(settings: Settings, stage: str) -> bool:
    """Tell whether a stage goes to a builder."""
    is_ours = settings.builders.inventory is not None and settings.stage(stage).executor == "ansible"
    return is_ours and stage in settings.builders.stages


def ask(session: Session, settings: Settings, builders: Sequence[Builder], ticket: Ticket) -> Turn:
    """Have a try take a builder, if one is left by those that go first. One that has one keeps it until it expires.

    Raises:
        BuilderError: no builder of the inventory could ever do it.
    """

    def find() -> tuple[str, str]:
        line = [_wanted(session, settings, one) for one in builder_leases.ahead(session, ticket)]
        now = after(builders, line, situation(session))
        found = choose(builders, _wanted(session, settings, ticket), now)
        return (found.name, "") if isinstance(found, Builder) else ("", found)

    machines, seconds = TRANSFERS[ticket.stage].machines, settings.builders.lease_seconds
    lease = builder_leases.take(session, ticket, find, machines=machines, seconds=seconds)
    if lease.waits_for:
        return Turn(waits_for=lease.waits_for)
    held = next((one for one in builders if one.name == lease.builder), None)
    if held is None:
        # The inventory has changed meanwhile.
        builder_leases.release(session, ticket)
        return ask(session, settings, builders, ticket)
    return Turn(builder=held)


def _wanted(session: Session, settings: Settings, ticket: Ticket) -> Wanted:
    return Wanted(
        stage=ticket.stage,
        arch=settings.arch_of(session.get_one(Run, ticket.run).branch),
        machines=TRANSFERS[ticket.stage].machines,
        avoid=builder_leases.earlier(session, ticket) if ticket.try_number > 1 else (),
    )


def situation(session: Session) -> Situation:
    """Return what is in use now, and who is left alone."""
    loads: dict[str, Load] = {}
    for lease in builder_leases.held(session):
        load = loads.setdefault(lease.builder, Load())
        load.slots += 1
        load.machines += lease.machines
    aside = {
        one.builder: f"set aside until {one.until:%H:%M:%S} UTC: {one.reason}" for one in builder_leases.aside(session)
    }
    return Situation(loads=loads, aside=aside)
