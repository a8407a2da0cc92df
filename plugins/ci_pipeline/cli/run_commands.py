"""`runs`, `results`, `images`, `watch`: what went through the pipeline."""

import contextlib
from typing import Annotated

import typer

from ci_pipeline import settings, store
from ci_pipeline.cli import tables
from ci_pipeline.cli.follow import follow, follow_all
from ci_pipeline.cli.live import Display
from ci_pipeline.cli.options import AsJson, Branch, Limit, RunOption
from ci_pipeline.cli.output import local_time, print_json, print_json_lines, say, show
from ci_pipeline.cli.overview import JsonLines, Overview
from ci_pipeline.datahub import queries
from ci_pipeline.datahub.model import RunResults
from ci_pipeline.errors import StoreError
from ci_pipeline.outcome import Status


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (watch, runs, results, images):
        app.command()(command)


def watch(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="Run id, or branch and number: f26/464. Default: all that go on."),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show all changes that go on, until Ctrl-C; or the stages of one run until it has ended.

    Exit status of a run: 0 only if it ended SUCCESS. With --json: a line whenever something changed.
    """
    configured = settings.current()
    if run is None:
        _watch_all(configured, as_json=as_json)
        return
    view = _watch_json(configured, run) if as_json else _watch(configured, run)
    if view.status != Status.SUCCESS:
        raise typer.Exit(1)


def _watch_all(configured: settings.Settings, *, as_json: bool) -> None:
    with contextlib.suppress(KeyboardInterrupt), JsonLines() if as_json else Overview() as display:
        for rows in follow_all(configured):
            display.update(rows)


def _watch(configured: settings.Settings, run_id: str) -> RunResults:
    with Display() as display:
        for view in follow(configured, run_id):
            display.update(view)
    say(f"{view.run}: {view.status}{f': {view.reason}' if view.reason else ''}\n{view.url}")
    return view


def _watch_json(configured: settings.Settings, run_id: str) -> RunResults:
    shown: object = None
    for view in follow(configured, run_id):
        known = [(stage.stage, stage.try_number, stage.status) for stage in view.stages], view.status
        if known != shown:
            print_json_lines([view])
        shown = known
    return view


def runs(*, branch: Branch = None, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List runs, the newest first."""
    with store.session() as session:
        found = queries.recent_runs(session, settings.current(), branch=branch, limit=limit)
    if as_json:
        print_json(found)
    elif found:
        show(tables.of_runs(found))
    else:
        say("no runs yet")


def results(*, run: RunOption = None, as_json: AsJson = False) -> None:
    """Show what came of every stage of a run: outputs, tests and artifacts."""
    with store.session() as session:
        row = queries.chosen_run(session, run)
        if row is None:
            msg = "there are no runs yet; push a change, or try `ci-pipeline demo`"
            raise StoreError(msg)
        view = queries.run_results(session, settings.current(), row)
    if as_json:
        print_json(view)
        return
    for one in (tables.of_stages(view), tables.of_outputs(view), tables.of_tests(view), tables.of_artifacts(view)):
        if one.row_count:
            show(one)
            say("")
    if view.pruned_at:
        gone = "its logs and files are gone, but for packages and images that are among the newest"
        say(f"pruned at {local_time(view.pruned_at)}: {gone}")
    say(f"{view.run}: {view.progress}{f': {view.reason}' if view.reason else ''}\n{view.url}")


def images(*, branch: Branch = None, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List images, the newest first."""
    with store.session() as session:
        found = queries.image_list(session, settings.current(), branch=branch, limit=limit)
    if as_json:
        print_json(found)
    elif found:
        show(tables.of_images(found))
    else:
        say("no images yet")
