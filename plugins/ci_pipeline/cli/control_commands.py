"""`reconcile`, `cancel` and `prune`: what an operator does to runs and to what they leave."""

from dataclasses import asdict
from typing import Annotated

import typer

from ci_pipeline import cancel, reconcile, retention, settings
from ci_pipeline.cli.options import AsJson
from ci_pipeline.cli.output import complain, print_json, say, show, table
from ci_pipeline.wording import size

RunToEnd = Annotated[str, typer.Argument(metavar="RUN", help="Run id, or branch and number: f26/464.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("reconcile")(reconcile_now)
    app.command("cancel")(cancel_run)
    app.command("prune")(prune_now)


def reconcile_now(*, as_json: AsJson = False) -> None:
    """Close the gaps that Airflow's callbacks leave, now: what the DAG ci-pipeline-reconciler does all the time."""
    mended = reconcile.reconcile(settings.current())
    if as_json:
        print_json([{"run": one.run, "what": one.what} for one in mended])
        return
    for one in mended:
        say(f"{one.run}: {one.what}")
    say(f"{len(mended)} mended" if mended else "nothing to mend")


def cancel_run(run: RunToEnd, *, as_json: AsJson = False) -> None:
    """End a run: its playbook, its builds and its machines stop, and it is announced as ABORTED."""
    run_id, told = cancel.cancel(settings.current(), run)
    if as_json:
        print_json({"run": run_id, "what": told})
    else:
        say(f"{run_id}: {told}")


def prune_now(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what [retention] in pipeline.toml no longer keeps, now: what the DAG ci-pipeline-retention does hourly.

    Exit status 1 if something could not be removed.
    """
    done = retention.prune(settings.current(), dry_run=dry_run)
    if as_json:
        print_json({**asdict(done), "bytes": done.bytes})
    else:
        if done.removed:
            show(table("", ("kind", "what", "size"), [(one.kind, one.what, size(one.bytes)) for one in done.removed]))
        told = "would be removed" if dry_run else "removed"
        say(f"{len(done.removed)} {told}, {size(done.bytes)}" if done.removed else "nothing to remove")
        for warning in done.warnings:
            complain(warning)
    if done.warnings:
        raise typer.Exit(1)
