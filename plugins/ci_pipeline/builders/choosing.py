"""Which builder a try goes to: a decision without a database, a clock or a network."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from ci_pipeline.builders.inventory import Builder
from ci_pipeline.errors import BuilderError


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a try of a stage needs.

    Attributes:
        stage: its name.
        arch: architecture of the builder.
        machines: how many virtual machines it boots at once.
        avoid: names of builders that earlier tries of the stage were on: taken only if no other is free.
    """

    stage: str
    arch: str
    machines: int = 0
    avoid: Collection[str] = ()


@dataclass(slots=True)
class Load:
    """What is taken of a builder: slots, and virtual machines."""

    slots: int = 0
    machines: int = 0


@dataclass(frozen=True, slots=True)
class Situation:
    """How things are with the builders.

    Attributes:
        loads: by name, of those that are in use.
        aside: by name, of those that are left alone: until when, and why, in words.
    """

    loads: Mapping[str, Load] = field(default_factory=dict)
    aside: Mapping[str, str] = field(default_factory=dict)


def choose(builders: Sequence[Builder], wanted: Wanted, now: Situation) -> Builder | str:
    """Return the builder a try goes to, or in a sentence what it waits for.

    The one with most free slots is taken, of several the first in the inventory.

    Raises:
        BuilderError: no builder could ever do it.
    """
    able = _able(builders, wanted)
    free = [one for one in able if one.name not in now.aside and _has_room(one, wanted, now.loads)]
    if free:
        return max(free, key=lambda one: (one.name not in wanted.avoid, _free_slots(one, now.loads)))
    return f"{wanted.stage} waits for a builder: " + "; ".join(_why_not(one, now) for one in able)


def after(builders: Sequence[Builder], line: Iterable[Wanted], now: Situation) -> Situation:
    """Return how things are once those who go first have what they wait for: what is promised counts as in use.

    One for which nothing is free holds nobody up.
    """
    loads = {name: replace(load) for name, load in now.loads.items()}
    for wanted in line:
        with suppress(BuilderError):
            found = choose(builders, wanted, Situation(loads, now.aside))
            if isinstance(found, Builder):
                load = loads.setdefault(found.name, Load())
                load.slots += 1
                load.machines += wanted.machines
    return Situation(loads, now.aside)


def _able(builders: Sequence[Builder], wanted: Wanted) -> list[Builder]:
    of_arch = [one for one in builders if one.arch == wanted.arch]
    if not of_arch:
        msg = f"no builder of the inventory is {wanted.arch} (builder_arch), which {wanted.stage} needs; add one"
        raise BuilderError(msg)
    able = [one for one in of_arch if one.machines >= wanted.machines]
    if not able:
        msg = f"no {wanted.arch} builder may run {wanted.machines} virtual machines at once (builder_machines)"
        raise BuilderError(f"{msg}, which {wanted.stage} needs; raise it where there is room")
    return able


def _free_slots(builder: Builder, loads: Mapping[str, Load]) -> int:
    return builder.slots - loads.get(builder.name, Load()).slots


def _has_room(builder: Builder, wanted: Wanted, loads: Mapping[str, Load]) -> bool:
    machines = builder.machines - loads.get(builder.name, Load()).machines
    return _free_slots(builder, loads) >= 1 and machines >= wanted.machines


def _why_not(builder: Builder, now: Situation) -> str:
    if builder.name in now.aside:
        return f"{builder.name} is {now.aside[builder.name]}"
    load = now.loads.get(builder.name, Load())
    if _free_slots(builder, now.loads) < 1:
        return f"{builder.name} has {load.slots} of {builder.slots} slots in use"
    return f"{builder.name} has {load.machines} of {builder.machines} virtual machines in use"
