"""`audit`, `dead` and `catch-up`: whether something got lost, and getting it back."""

from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from ci_pipeline import audit, catch_up, dead_letters, settings, store
from ci_pipeline.cli.options import AsJson, Limit
from ci_pipeline.cli.output import complain, local_time, print_json, say, show, table

LetterArgument = Annotated[str, typer.Argument(metavar="ID", help="As `ci-pipeline dead list` shows it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("audit")(audit_all)
    app.command("catch-up")(catch_up_now)
    dead = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, help="What needs a human: dead letters, and what was refused."
    )
    for name, command in (("list", list_dead), ("show", show_dead), ("replay", replay_dead)):
        dead.command(name)(command)
    app.add_typer(dead, name="dead")


def audit_all(
    *,
    patience: Annotated[
        float,
        typer.Option("--patience", min=0, help="Seconds a message may wait to be published."),
    ] = audit.PATIENCE.total_seconds(),
    as_json: AsJson = False,
) -> None:
    """Check that nothing was lost and nothing invented. Exit status 1 if something was; the rows are shown."""
    done = audit.audit(patience=timedelta(seconds=patience))
    if as_json:
        print_json(done)
    else:
        if done.findings:
            rows = [(found.check, found.what, found.sentence) for found in done.findings]
            show(table("", ("check", "row", "what is wrong"), rows))
        say(done.summary)
    if done.findings:
        raise typer.Exit(1)


def catch_up_now(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also run what is new to us.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue what was pushed to dist-git while nobody listened. Exit status 1 if a package could not be looked at."""
    done = catch_up.catch_up(settings.current(), everything=everything)
    if as_json:
        print_json(done)
    else:
        for change in done.queued:
            say(f"queued {change}")
        for change in done.new:
            say(f"new to us: {change}")
        say(done.summary)
    for problem in done.problems:
        complain(problem)
    if done.problems:
        raise typer.Exit(1)


def list_dead(*, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List messages that could not be read, and what of ours the bus or a sink refused, the newest first."""
    with store.session() as session:
        letters = dead_letters.listed(session, limit=limit)
    if as_json:
        print_json(letters)
    elif letters:
        show(_of_letters(letters))
    else:
        say("no dead letters and nothing parked")


def show_dead(letter: LetterArgument, *, as_json: AsJson = False) -> None:
    """Show all that is kept of one."""
    with store.session() as session:
        row = dead_letters.find(session, letter)
        told, body = dead_letters.letter_of(row), dead_letters.body_of(session, settings.current(), row)
    if as_json:
        print_json({"letter": told, "body": body})
        return
    say(f"{told.kind} {told.id} of {local_time(told.when)} on {told.topic}: {told.reason}\n\n{body}")


def replay_dead(letter: LetterArgument, *, as_json: AsJson = False) -> None:
    """Try one again, after what was wrong has been put right."""
    told = dead_letters.replay(settings.current(), letter)
    if as_json:
        print_json({"id": letter, "what": told})
    else:
        say(told)


def _of_letters(letters: list[dead_letters.Letter]) -> Table:
    rows = [(one.kind, one.id, local_time(one.when), one.topic, one.reason) for one in letters]
    return table("", ("kind", "id", "when", "topic", "reason"), rows)
