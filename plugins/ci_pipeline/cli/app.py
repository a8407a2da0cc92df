"""The application: its commands, and how their errors end."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import typer
from sqlalchemy.exc import ProgrammingError
from typer.core import TyperGroup

from ci_pipeline.cli.output import complain
from ci_pipeline.errors import CiPipelineError, DatabaseUnreachable, SettingsError

FAILED = 1
MISUSED = 2
# The commands of each module, in the order of the help.
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "demo_command": ("demo",),
    "stack_commands": ("up", "down", "status", "password", "airflow"),
    "init_command": ("init",),
    "bus_commands": ("send", "messages"),
    "run_commands": ("watch", "runs", "results", "images"),
    "why_command": ("why",),
    "trigger_command": ("trigger",),
    "control_commands": ("reconcile", "cancel", "prune"),
    "recovery_commands": ("audit", "catch-up", "dead"),
    "delivery_commands": ("deliver",),
    "backfill_commands": ("backfill", "revisions"),
    "verify_command": ("verify",),
    "gating_commands": ("decide", "waive", "waivers"),
    "builder_command": ("builders",),
    "lease_commands": ("leases",),
    "storm_command": ("storm",),
}
_HOME: Final = {command: module for module, commands in COMMANDS.items() for command in commands}


class _Commands(TyperGroup):
    """Imports a command's module when the command is asked for: all of them take longer than most commands."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the group's interface
        """Return the names of all commands."""
        return list(_HOME)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name; None: there is none."""
        if cmd_name in _HOME and cmd_name not in self.commands:
            self.commands.update(commands_of(_HOME[cmd_name]))
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return what is asked for; whoever misspelt it is told what is alike."""
        if args and args[0] not in _HOME:
            for module in COMMANDS:
                self.commands.update(commands_of(module))
        return super().resolve_command(ctx, args)


class _Sentences(_Commands):
    """Ends an error a user can cause with its one sentence and an exit status; others keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            complain(str(error))
            raise typer.Exit(MISUSED) from error
        except DatabaseUnreachable as error:
            complain(f"{error}; run `ci-pipeline up`")
            raise typer.Exit(FAILED) from error
        except CiPipelineError as error:
            complain(str(error))
            raise typer.Exit(FAILED) from error
        except ProgrammingError as error:
            complain(f"the database has another schema ({_first_line(error.orig)}); run `ci-pipeline down`, then `up`")
            raise typer.Exit(FAILED) from error


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]


app = typer.Typer(
    cls=_Sentences,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Continuous integration for OSTree-based hosts: from a dist-git push to a tested host.",
)


@app.callback()
def _any_command() -> None:
    """Make a group of it, though typer knows of no command yet."""


def commands_of(module: str) -> dict[str, Any]:
    """Return the commands that a module of this package has, by name."""
    registered = typer.Typer(rich_markup_mode=None)
    import_module(f"ci_pipeline.cli.{module}").register(registered)
    return dict(typer.main.get_group(registered).commands)
