"""How the demo is shown."""

from collections.abc import Sequence

from ci_pipeline.cli import tables
from ci_pipeline.cli.output import coloured, out, say, show, table
from ci_pipeline.demo.packager import BRANCH, PACKAGE, Pushed
from ci_pipeline.demo.scenario import Act
from ci_pipeline.demo.state import BranchState
from ci_pipeline.settings import Settings

_SHORT = 12


def heading(text: str) -> None:
    """Print a heading."""
    out.print()
    out.print(text, style="bold", markup=False, soft_wrap=True)


def push(pushed: Pushed) -> None:
    """Print a push and what its remote said of it."""
    say(f"pushed {pushed.rev[:7]} to {PACKAGE} {BRANCH}: {pushed.subject}")
    for line in pushed.said.splitlines():
        if line.startswith("remote:"):
            say(f"  {line.strip()}")


def act(played: Act) -> None:
    """Print what came of a push: its stages, its messages, its page."""
    out.print()
    show(tables.of_stages(played.run))
    out.print()
    rows = [
        (one.topic, coloured(one.status), "" if one.published else "not on the bus: see `ci-pipeline status`")
        for one in played.told
    ]
    show(table("messages on the bus", ("topic", "status", ""), rows))
    in_stages = sum(stage.seconds for stage in played.run.stages)
    in_tools = sum(stage.tool_seconds for stage in played.run.stages)
    say(
        f"\n{played.seconds:.1f} s from the push to complete: {in_stages:.1f} s in stages, "
        f"of which {in_tools:.1f} s in the tools themselves"
    )
    say(f"run in Airflow: {played.run.url}")


def guarded(played: Act) -> None:
    """Print that a bad push moved nothing, or what it moved."""
    say(f"reason: {played.run.reason}")
    rows = [
        ("OSTree ref", _short(played.before), _short(played.after), _moved(played.before.rev, played.after.rev)),
        (
            "last good packages",
            ", ".join(played.before.packages) or "none",
            ", ".join(played.after.packages) or "none",
            _moved(played.before.packages, played.after.packages),
        ),
    ]
    out.print()
    show(table(f"what {BRANCH} stands at", ("", "before the push", "after its run", ""), rows))


def farewell(settings: Settings, repair_command: str) -> None:
    """Print what can be done next."""
    say(
        f"\nAirflow: {settings.airflow.url} (`.venv/bin/ci-pipeline password` shows the account)"
        f"\nartifacts: {settings.artifacts.url}/fedora-atomic/{BRANCH}/"
        f"\nbe the packager, take the bug back: {repair_command}"
        "\nmore: .venv/bin/ci-pipeline results, messages, images, watch; `make demo-stop` stops it all"
    )


def verdict(problems: Sequence[str]) -> None:
    """Print whether the demo went as promised."""
    for problem in problems:
        out.print(f"NOT as it should be: {problem}", style="red", markup=False, soft_wrap=True)
    if problems:
        say("`.venv/bin/ci-pipeline results` shows all of the run; `make demo-stop` stops the stack")
    else:
        out.print("All as it should be.", style="green", soft_wrap=True)


def _short(branch: BranchState) -> str:
    return branch.rev[:_SHORT] or "none"


def _moved(before: object, after: object) -> str:
    return "did not move" if before == after else "MOVED"
