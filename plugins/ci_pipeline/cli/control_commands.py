"""`reconcile` and `cancel`: what an operator does to runs."""

from typing import Annotated

import typer

from ci_pipeline import cancel, reconcile, settings
from ci_pipeline.cli.options import AsJson
from ci_pipeline.cli.output import print_json, say

RunToEnd = Annotated[str, typer.Argument(metavar="RUN", help="Run id, or branch and number: f26/464.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("reconcile")(reconcile_now)
    app.command("cancel")(cancel_run)


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
