"""`demo`: a packager's push through the whole pipeline on this machine, then one that is stopped."""

from typing import Annotated

import typer

from ci_pipeline import settings
from ci_pipeline.cli.bring_up import bring_up
from ci_pipeline.cli.live import Display
from ci_pipeline.cli.output import complain, say
from ci_pipeline.cli.stack_commands import with_progress
from ci_pipeline.demo import distgit, packager, report, scenario

_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    *,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds a run may take.")] = 600,
) -> None:
    """Take a packager's push through the whole pipeline on this machine, then show that a bad one is stopped.

    Starts the stack if it does not run, and leaves it running. Exit status 0 only if the good push ended SUCCESS, and
    the bad one FAILURE without moving anything.
    """
    try:
        problems = _play(timeout)
    except KeyboardInterrupt:
        complain("interrupted; the stack goes on running: `ci-pipeline down` (or `make demo-stop`) stops it")
        raise typer.Exit(_INTERRUPTED) from None
    if problems:
        raise typer.Exit(1)


def _play(timeout: float) -> list[str]:
    place = distgit.of_state(settings.state_folder())
    sources = settings.project_folder() / "demo" / "packages"
    report.heading("1. The stack: PostgreSQL, RabbitMQ and Airflow, private to this project")
    up = with_progress(lambda progress: bring_up(progress, extra_env={"CI_PIPELINE_DIST_GIT__URL": place.url}))
    for note in up.notes:
        complain(note)
    say("everything was up already" if up.already_up else f"up in {up.seconds:.0f} s: {', '.join(up.started)}")
    configured = settings.current()
    distgit.ensure(place, sources, configured)
    say(f"dist-git: {place.url}")

    acts = _Acts(configured, place, timeout)
    report.heading("2. A packager pushes a new release")
    good = acts.play(scenario.good)
    if not (problems := list(scenario.problems(good, None))):
        report.heading("3. A packager pushes a change whose own unit tests fail: it must not reach the host")
        bad = acts.play(scenario.bad)
        report.guarded(bad)
        report.farewell(configured, packager.repair_command(place))
        problems = list(scenario.problems(good, bad))
    report.verdict(problems)
    return problems


class _Acts:
    """Plays the acts of the demo and shows them."""

    def __init__(self, configured: settings.Settings, place: distgit.DistGit, timeout: float) -> None:
        """Take where the demo plays, and the seconds a run may take."""
        self._settings, self._place, self._timeout = configured, place, timeout

    def play(self, what: scenario.Play) -> scenario.Act:
        """Play one act: push, stages as they go, and what came of them."""
        with Display(keep=False) as display:
            scene = scenario.Scene(
                settings=self._settings,
                distgit=self._place,
                sources=settings.project_folder() / "demo" / "packages",
                timeout=self._timeout,
                on_push=report.push,
                on_view=display.update,
            )
            played = what(scene)
        report.act(played)
        return played
