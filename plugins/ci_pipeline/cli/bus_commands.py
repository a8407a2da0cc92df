"""`send` and `messages`: what goes onto the bus, and what the pipeline has said on it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ci_pipeline import decisions, settings, store
from ci_pipeline.bus.publisher import Publisher
from ci_pipeline.cli import archive, sending
from ci_pipeline.cli.options import AsJson
from ci_pipeline.cli.output import print_json, print_json_lines, say
from ci_pipeline.store import outbox, runs, unannounced

_ALL = 1_000_000


class Format(StrEnum):
    """How a message is printed."""

    FEDMSG = "fedmsg"
    BODY = "body"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (send, messages):
        app.command()(command)


def send(
    file: Annotated[Path, typer.Argument(help="File with one JSON message; - for standard input.")],
    *,
    topic: Annotated[
        str | None,
        typer.Option("--topic", help="Publish the file as the body on this topic, without looking for an envelope."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Publish a message on the bus.

    The file is an envelope (`topic` with `msg` or `body`), or, with --topic, the body itself. Nothing else of it is
    checked, so that the pipeline's own checks can be tried out. A message that no queue takes is an error.
    """
    message = sending.read(file, topic)
    bus = settings.load().bus
    with Publisher(bus.url.get_secret_value(), bus.exchange, bus.publish_timeout, files=bus.files) as publisher:
        publisher.publish(message, mandatory=True)
    if as_json:
        print_json({"id": message.id, "topic": message.topic})
    else:
        say(f"sent {message.id} on {message.topic}")


def messages(
    *,
    run: Annotated[str | None, typer.Option("--run", help="Only of this run: its id, or f26/464.")] = None,
    form: Annotated[
        Format,
        typer.Option("--format", help="fedmsg: in an archive's envelope; body: as on the bus."),
    ] = Format.FEDMSG,
    as_json: AsJson = True,  # noqa: ARG001 - accepted like everywhere; the output is JSON in any case
) -> None:
    """Print what the pipeline has to say, one JSON object per line, in order. Unpublished messages are among them."""
    with store.session() as session:
        rows = outbox.messages(session, run=None if run is None else runs.get(session, run).id, limit=_ALL)
        if run is None:
            rows += decisions.ignored(settings.current(), unannounced.waiting(session))
    print_json_lines(archive.envelope(row) if form is Format.FEDMSG else dict(sorted(row.body.items())) for row in rows)
