"""`runs`, `results`, `images`, `watch`: what went through the pipeline."""

import typer

from ci_pipeline import settings, store
from ci_pipeline.cli import tables, views
from ci_pipeline.cli.follow import follow, wait_for_run
from ci_pipeline.cli.live import Display
from ci_pipeline.cli.options import AsJson, Branch, Limit, RunArgument, RunOption
from ci_pipeline.cli.output import complain, print_json, print_json_lines, say, show
from ci_pipeline.errors import StoreError
from ci_pipeline.outcome import Status


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (watch, runs, results, images):
        app.command()(command)


def watch(run: RunArgument = None, *, as_json: AsJson = False) -> None:
    """Show the stages of a run as they go, until it has ended. Exit status 0 only if it ended SUCCESS.

    Without RUN: the newest; if there is none yet, it waits for one. With --json: a line whenever something changed.
    """
    configured = settings.current()
    run_id = wait_for_run(run, lambda: complain("waiting for a run"))
    view = _watch_json(configured, run_id) if as_json else _watch(configured, run_id)
    if view.status != Status.SUCCESS:
        raise typer.Exit(1)


def _watch(configured: settings.Settings, run_id: str) -> views.RunView:
    with Display() as display:
        for view in follow(configured, run_id):
            display.update(view)
    say(f"{view.run}: {view.status}{f': {view.reason}' if view.reason else ''}\n{view.url}")
    return view


def _watch_json(configured: settings.Settings, run_id: str) -> views.RunView:
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
        found = views.recent_runs(session, settings.current(), branch=branch, limit=limit)
    if as_json:
        print_json(found)
    elif found:
        show(tables.of_runs(found))
    else:
        say("no runs yet")


def results(*, run: RunOption = None, as_json: AsJson = False) -> None:
    """Show what came of every stage of a run: outputs, tests and artifacts."""
    with store.session() as session:
        row = views.chosen_run(session, run)
        if row is None:
            msg = "there are no runs yet; push a change, or try `ci-pipeline demo`"
            raise StoreError(msg)
        view = views.run_with_stages(session, settings.current(), row)
    if as_json:
        print_json(view)
        return
    for one in (tables.of_stages(view), tables.of_outputs(view), tables.of_tests(view), tables.of_artifacts(view)):
        if one.row_count:
            show(one)
            say("")
    say(f"{view.run}: {view.progress}{f': {view.reason}' if view.reason else ''}\n{view.url}")


def images(*, branch: Branch = None, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List images, the newest first."""
    with store.session() as session:
        found = views.image_list(session, settings.current(), branch=branch, limit=limit)
    if as_json:
        print_json(found)
    elif found:
        show(tables.of_images(found))
    else:
        say("no images yet")
