"""The application: its commands, and how their errors end."""

from typing import Any

import typer
from sqlalchemy.exc import ProgrammingError
from typer.core import TyperGroup

from ci_pipeline.cli import (
    backfill_commands,
    builder_command,
    bus_commands,
    control_commands,
    delivery_commands,
    demo_command,
    gating_commands,
    init_command,
    lease_commands,
    recovery_commands,
    run_commands,
    stack_commands,
    storm_command,
    trigger_command,
    verify_command,
    why_command,
)
from ci_pipeline.cli.output import complain
from ci_pipeline.errors import CiPipelineError, DatabaseUnreachable, SettingsError

FAILED = 1
MISUSED = 2


class _Sentences(TyperGroup):
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
for _module in (
    demo_command,
    stack_commands,
    init_command,
    bus_commands,
    run_commands,
    why_command,
    trigger_command,
    control_commands,
    recovery_commands,
    delivery_commands,
    backfill_commands,
    verify_command,
    gating_commands,
    builder_command,
    lease_commands,
    storm_command,
):
    _module.register(app)
