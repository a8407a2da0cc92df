"""`storm`: the changes of a mass rebuild that wait for their turn, and letting one go before it."""

from typing import Annotated

import typer

from ci_pipeline import settings, store
from ci_pipeline.cli.options import AsJson
from ci_pipeline.cli.output import local_time, print_json, say, show, table
from ci_pipeline.insight import storm_state
from ci_pipeline.insight.storm_state import Pusher
from ci_pipeline.intake import Intake
from ci_pipeline.store import lanes

storm = typer.Typer(
    help="Changes of a mass rebuild, which wait for their turn.", invoke_without_command=True, rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(storm, name="storm")


@storm.callback()
def show_storm(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show whose changes wait, how many, and how long it takes until all of them have run."""
    if context.invoked_subcommand:
        return
    with store.session() as session:
        found = storm_state.read(session)
    if as_json:
        print_json(found)
    elif found.is_quiet:
        say("no storm, and nothing waits for its turn")
    else:
        if found.accounts:
            show(table("", ("account", "storms since", "waiting", "the oldest since"), map(_row, found.accounts)))
        say(found.summary)


@storm.command("release")
def release(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run id, or branch and number: f26/464.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Let a change go now that waits for its turn."""
    with store.session() as session:
        released = lanes.release(session, run)
    Intake(settings.current(), trigger_run_id="").catch_up()
    with store.session() as session:
        goes_on = lanes.is_fired(session, released.id)
    told = "it goes on" if goes_on else "it goes as soon as Airflow takes it"
    if as_json:
        print_json({"run": released.run_id, "what": told})
    else:
        say(f"{released.run_id}: {told}")


def _row(one: Pusher) -> tuple[str, ...]:
    return one.name, local_time(one.storms_since) or "-", str(one.waiting), local_time(one.waits_since)
