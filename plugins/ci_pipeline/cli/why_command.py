"""`why`: one trace of a change, and in its first line whose fault it is."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.table import Table

from ci_pipeline import settings, store
from ci_pipeline.cli import tables
from ci_pipeline.cli.options import AsJson
from ci_pipeline.cli.output import coloured, complain, local_time, print_json, say, seconds, show, table
from ci_pipeline.errors import StoreError
from ci_pipeline.insight import keys, trace, tracing
from ci_pipeline.insight.trace import Choice, Trace
from ci_pipeline.wording import cut

_LINE = 200


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(why)


def why(
    key: Annotated[
        str,
        typer.Argument(metavar="X", help="NVR, revision (7 digits or more), run id, f26/464, message id or number."),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Tell what became of a change, whose fault it is if it is red, and what happens next.

    Exit status 0 when there is one such change, whatever became of it; 1 when there is none, or several.
    """
    with store.session() as session:
        found = keys.find(session, key)
        told = tracing.read(session, settings.current(), found[0]) if len(found) == 1 else None
        choices = [trace.Choice.of(one) for one in found]
    if told is None:
        _refuse(key, choices, as_json=as_json)
    elif as_json:
        print_json(told)
    else:
        _tell(told)


def _refuse(key: str, choices: list[Choice], *, as_json: bool) -> None:
    if as_json:
        print_json({"choices": choices})
    else:
        rows = [(one.key, one.what, coloured(one.state), local_time(one.when)) for one in choices]
        show(table("", ("key", "what", "status", "when"), rows))
    raise StoreError(f"{cut(key, 80)!r} means {len(choices)} things; ask again with one of their keys")


def _tell(told: Trace) -> None:
    say(told.verdict.sentence)
    say(f"Next: {told.verdict.next}\n")
    for one in _parts(told):
        if one.row_count:
            show(one)
            say("")
    say(told.url or f"message {told.key}")
    if told.pruned_at:
        complain(f"its files were removed at {local_time(told.pruned_at)}")


def _parts(told: Trace) -> Iterator[Table]:
    arrived = [
        (str(one.number), local_time(one.received_at), coloured(one.state), one.topic, cut(one.reason, _LINE))
        for one in told.messages
    ]
    yield table(f"{told.what}: messages that arrived", ("number", "received", "decision", "topic", "why"), arrived)
    yield table(f"{told.what}: stages", ("stage", "try", "status", "seconds", "reason"), _stages(told))
    failed, _ = trace.failed_first(told.tests)
    tests = [
        (one.stage, one.name, coloured(one.outcome), str(one.flaky or ""), cut(one.message.partition("\n")[0], _LINE))
        for one in failed
    ]
    yield table("failed tests", ("stage", "test", "outcome", "lately", "message"), tests)
    files = [(one.stage, one.name, one.url or one.path) for one in told.files]
    yield table("files", ("stage", "file", "where"), files)
    said = [
        (one.topic, one.status or cut(one.summary, _LINE), one.how, local_time(one.published_at)) for one in told.said
    ]
    yield table("messages said", ("topic", "says", "on the bus", "when"), said)


def _stages(told: Trace) -> Iterator[tuple[str, ...]]:
    for one in told.tries:
        fault = f"{one.fault}: " if one.fault else ""
        status = (one.status or "running") if one.current else f"({one.status or 'running'}, an older try)"
        why = one.reason or tables.reused_from(one.reused_from)
        yield one.stage, str(one.try_number), status, seconds(one.seconds), cut(fault + why, _LINE)
