"""`builders`: the machines stages are carried out on."""

from typing import Annotated

import typer
from rich.text import Text

from ci_pipeline import settings, store
from ci_pipeline.builders import inventory, overview
from ci_pipeline.builders.overview import BuilderState
from ci_pipeline.cli.options import AsJson
from ci_pipeline.cli.output import coloured, local_time, print_json, say, show, table


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("builders")(show_builders)


def show_builders(
    *,
    connect: Annotated[bool, typer.Option(help="Try to reach each of them.")] = True,
    as_json: AsJson = False,
) -> None:
    """Show the builders: who can be reached, who works on what since when, who is set aside.

    Exit status 1 if one cannot be reached.
    """
    known = inventory.read(settings.load())
    problems = overview.try_all(known) if connect else None
    with store.session() as session:
        found = overview.states(session, known, problems)
    if as_json:
        print_json(found)
    elif not found:
        say("all stages run on this machine: builders.inventory is not set")
    else:
        show(table("", ("builder", "host", "arch", "state", "slots", "machines", "works on", ""), map(_row, found)))
    if any(one.reachable is False for one in found):
        raise typer.Exit(1)


def _row(one: BuilderState) -> tuple[str | Text, ...]:
    works = "; ".join(f"{held.run} {held.stage} since {local_time(held.since)[-8:]}" for held in one.held)
    slots, machines = f"{len(one.held)} of {one.slots}", f"{one.machines_held} of {one.machines}"
    return one.name, one.host, one.arch, coloured(_word(one)), slots, machines, works, _why(one)


def _word(one: BuilderState) -> str:
    if one.reachable is False:
        return "dead"
    if one.set_aside_until:
        return "set aside"
    return "unknown" if one.reachable is None else "healthy"


def _why(one: BuilderState) -> str:
    until = f"left alone until {local_time(one.set_aside_until)[-8:]}" if one.set_aside_until else ""
    return ": ".join(filter(None, (until, one.reason)))
