"""`up`, `down`, `status`, `password`: the stack on this machine."""

from collections.abc import Callable
from typing import Annotated

import typer

from ci_pipeline import settings, stack
from ci_pipeline.cli import health
from ci_pipeline.cli.bring_up import bring_up
from ci_pipeline.cli.delivery_commands import SINK_COLUMNS, sink_row
from ci_pipeline.cli.options import AsJson
from ci_pipeline.cli.output import coloured, complain, err, local_time, print_json, say, show, table
from ci_pipeline.errors import StackError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, down, status, password):
        app.command()(command)
    # Whatever comes behind the name is Airflow's, options too.
    passed_on = {"ignore_unknown_options": True, "help_option_names": []}
    app.command("airflow", context_settings=passed_on)(airflow)


def up(
    *,
    new_ports: Annotated[bool, typer.Option("--new-ports", help="Replace kept ports that are in use.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start the stack on this machine: PostgreSQL, RabbitMQ, an artifacts server and Airflow. Safe to repeat."""
    _refuse_in_container("up")
    result = with_progress(lambda progress: bring_up(progress, new_ports=new_ports))
    for note in result.notes:
        complain(note)
    if as_json:
        started = {"started": result.started, "seconds": result.seconds, "state": result.state}
        print_json({**started, "airflow_url": result.airflow_url, "notes": result.notes})
        return
    what = "everything was up already" if result.already_up else f"up in {result.seconds:.0f} s"
    say(f"{what}; Airflow: {result.airflow_url} (`ci-pipeline password` shows the account)")


def down(*, as_json: AsJson = False) -> None:
    """Stop every process that `up` started, and nothing else. Data stays."""
    _refuse_in_container("down")
    result = stack.down()
    if as_json:
        print_json(result)
    elif result.already_down:
        say("nothing was running")
    else:
        say(f"stopped {len(result.stopped)} components in {result.seconds:.0f} s; the data stays")


def status(*, as_json: AsJson = False) -> None:
    """Show the components and what waits. Exit status 1 if something is dead."""
    if settings.in_container():
        _status_in_container(as_json=as_json)
        return
    found = stack.status()
    work = health.work(settings.load()) if found.running else None
    if as_json:
        print_json({**_as_dict(found), "work": work})
    else:
        _show_components(found)
        if work is not None:
            _show_work(work)
    if not found.healthy:
        raise typer.Exit(1)


def password(*, as_json: AsJson = False) -> None:
    """Show the account of the Airflow UI. This is the only place where its password is shown."""
    account = settings.load().airflow
    secret = account.password.get_secret_value()
    if not secret:
        msg = "there is no account yet; run `ci-pipeline up`"
        raise StackError(msg)
    if as_json:
        print_json({"url": account.url, "username": account.username, "password": secret})
    else:
        say(f"{account.url}\nusername: {account.username}\npassword: {secret}")


def airflow(arguments: Annotated[list[str] | None, typer.Argument(metavar="ARGS...")] = None) -> None:
    """Run Airflow's own command line on this stack: `ci-pipeline airflow dags list`."""
    stack.become_airflow(arguments or [])


def with_progress(work: Callable[[Callable[[str], None]], stack.UpResult]) -> stack.UpResult:
    """Do work that tells its steps: under a spinner on a terminal, else line by line, on standard error."""
    if not err.is_terminal:
        return work(complain)
    with err.status("starting") as spinner:
        return work(spinner.update)


def _refuse_in_container(command: str) -> None:
    if settings.in_container():
        msg = f"the pipeline's parts are containers here: run `docker compose {command}` outside of them"
        raise StackError(msg)


def _status_in_container(*, as_json: bool) -> None:
    """Show what waits: how the parts are, their engine knows."""
    work = health.work(settings.load())
    if as_json:
        print_json({"work": work})
    else:
        say("the pipeline's parts are containers here: `docker compose ps` shows how they are")
        _show_work(work)
    if work.problems:
        raise typer.Exit(1)


def _as_dict(found: stack.StackStatus) -> dict[str, object]:
    return {
        "state": found.state,
        "running": found.running,
        "healthy": found.healthy,
        "components": found.components,
        "leftovers": found.leftovers,
        "airflow_url": found.airflow_url,
    }


def _show_components(found: stack.StackStatus) -> None:
    if not found.running:
        left = f"; {found.leftovers} of its processes are left over" if found.leftovers else ""
        say(f"the stack is down{left}; run `ci-pipeline up`")
        return
    rows = [
        (
            component.name,
            coloured("healthy" if component.healthy else component.state),
            str(component.port or ""),
            str(component.pid or ""),
            component.advice if component.healthy else f"{component.detail}; {component.advice}",
        )
        for component in found.components
    ]
    show(table("", ("component", "state", "port", "pid", "what to do"), rows))
    say(f"Airflow: {found.airflow_url}")


def _show_work(work: health.Work) -> None:
    for problem in work.problems:
        say(problem)
    if work.problems:
        return
    last = f"{local_time(work.last_message_at)}, {work.last_message}" if work.last_message_at else "none yet"
    rows = [
        ("messages to be published", str(work.unpublished)),
        ("messages parked", f"{work.parked}{'; the bus refused them: see outbox.error' if work.parked else ''}"),
        ("changes queued, not fired", str(work.not_fired)),
        *([("storm", work.storm.summary)] if work.storm and not work.storm.is_quiet else []),
        ("runs going on", ", ".join(work.running) or "none"),
        ("last message taken up", last),
        *(("builder", sentence) for sentence in work.builders),
    ]
    show(table("", ("work", ""), rows))
    if work.sinks:
        show(table("", SINK_COLUMNS, [sink_row(sink) for sink in work.sinks]))
