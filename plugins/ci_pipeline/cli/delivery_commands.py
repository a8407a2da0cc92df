"""`deliver`: getting results to the datahubs downstream by hand; and how a sink is shown."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from ci_pipeline import settings, sinks
from ci_pipeline.cli.options import AsJson
from ci_pipeline.cli.output import local_time, print_json, say
from ci_pipeline.errors import SettingsError
from ci_pipeline.sinks import past
from ci_pipeline.store.deliveries import SinkState
from ci_pipeline.wording import age, cut

SINK_COLUMNS: Final = ("sink", "waiting", "since", "next try", "parked", "its last answer")
_LONGEST_ANSWER: Final = 200


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(deliver)


def deliver(
    name: Annotated[str | None, typer.Argument(metavar="[SINK]", help="Name of a sink. Default: all.")] = None,
    *,
    since: Annotated[
        datetime | None,
        typer.Option("--since", help="Also what happened since then (UTC) and was never stored for this sink."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Deliver what waits for the sinks, now. Exit status 1 if one did not take all of it."""
    configured = settings.current()
    names = [configured.sink(name).name] if name else [sink.name for sink in configured.sinks]
    if not names:
        msg = "there are no sinks; docs/sinks.md tells how to configure one under [[sinks]]"
        raise SettingsError(msg)
    _recall(configured, name, since, quiet=as_json)
    passes = [sinks.deliver(configured, one, seconds=float("inf"), at_once=True) for one in names]
    if as_json:
        print_json(passes)
    else:
        for done in passes:
            say(done.summary)
    if any(done.problem or done.parked or done.busy for done in passes):
        raise typer.Exit(1)


def sink_row(sink: SinkState) -> Sequence[str]:
    """Return the row of a sink in a table with `SINK_COLUMNS`."""
    since = f"{local_time(sink.oldest_at)} ({age(datetime.now(UTC) - sink.oldest_at)})" if sink.oldest_at else ""
    parked = f"{sink.parked}; see `ci-pipeline dead list`" if sink.parked else "0"
    name = sink.name if sink.configured else f"{sink.name} (not configured any more)"
    return (name, str(sink.waiting), since, local_time(sink.next_try_at), parked, cut(sink.answer, _LONGEST_ANSWER))


def _recall(configured: settings.Settings, name: str | None, since: datetime | None, *, quiet: bool) -> None:
    if since is None:
        return
    if name is None:
        msg = "--since needs the name of a sink: `ci-pipeline deliver SINK --since TIME`"
        raise SettingsError(msg)
    stored = past.recall(configured, name, since if since.tzinfo else since.replace(tzinfo=UTC))
    if not quiet:
        say(f"{name}: {stored} of the past are to be delivered")
