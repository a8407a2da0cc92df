"""`runs`, `results`, `images`, `watch`: what went through the pipeline."""

import contextlib
from dataclasses import replace
from typing import Annotated

import typer

from ci_pipeline import settings, store
from ci_pipeline.cli import tables
from ci_pipeline.cli.follow import follow, follow_all
from ci_pipeline.cli.live import Display
from ci_pipeline.cli.options import AsJson, Branch, Limit, OutcomeOption, RunOption, Since, StageOption, Until
from ci_pipeline.cli.output import local_time, print_json, print_json_lines, say, show
from ci_pipeline.cli.overview import JsonLines, Overview
from ci_pipeline.datahub import queries
from ci_pipeline.datahub.filters import Filter
from ci_pipeline.datahub.model import RunResults
from ci_pipeline.errors import StoreError
from ci_pipeline.outcome import Status
from ci_pipeline.store import runs as runs_stored


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


def results(  # noqa: PLR0913 - the options of a command
    *,
    run: RunOption = None,
    nvr: Annotated[str | None, typer.Option(help="About this NVR.")] = None,
    original_spec_nvr: Annotated[str | None, typer.Option(help="About this NVR of an unmodified spec.")] = None,
    compose_rev: Annotated[str | None, typer.Option(help="About this OSTree commit: 64 hex digits.")] = None,
    repo: Annotated[str | None, typer.Option(help="Of this package.")] = None,
    branch: Branch = None,
    ref: Annotated[str | None, typer.Option(help="Of composes on this OSTree ref, or candidate/f26/464.")] = None,
    stage: StageOption = None,
    outcome: OutcomeOption = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Show what came of every stage of a run: outputs, tests and artifacts.

    With a filter: list the results it finds, of all runs or of the one --run names, the newest first. The API of
    docs/datahub.md has the same filters.
    """
    wanted = Filter(
        nvr=nvr,
        original_spec_nvr=original_spec_nvr,
        compose_rev=compose_rev,
        repo=repo,
        branch=branch,
        ref=ref,
        stage=stage,
        outcome=outcome,
        since=since,
        until=until,
    )
    if wanted == Filter():
        _show_run(run, as_json=as_json)
    else:
        _list_results(replace(wanted, run=run), limit, as_json=as_json)


def _list_results(wanted: Filter, limit: int, *, as_json: bool) -> None:
    with store.session() as session:
        if wanted.run is not None:
            row = runs_stored.get(session, wanted.run)
            wanted = replace(wanted, run=f"{row.branch}/{row.number}")
        found = queries.results(session, settings.current(), wanted, limit=limit).items
    if as_json:
        print_json(found)
    elif found:
        show(tables.of_results(found))
    else:
        say("no such results")


def _show_run(run: str | None, *, as_json: bool) -> None:
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
        found = queries.image_list(session, settings.current(), branch=branch, limit=limit).items
    if as_json:
        print_json(found)
    elif found:
        show(tables.of_images(found))
    else:
        say("no images yet")
