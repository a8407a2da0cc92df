"""Options and arguments that several commands share."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import typer

from ci_pipeline.datahub.filters import RUNNING
from ci_pipeline.outcome import Status
from ci_pipeline.stages import BY_NAME


def _one_of(*allowed: str) -> Callable[[str], str]:
    def choose(told: str) -> str:
        if told not in allowed:
            msg = f"{told!r} is none of {', '.join(allowed)}"
            raise typer.BadParameter(msg)
        return told

    return choose


def _moment(told: str) -> datetime:
    """Read a time; one without a zone is on the user's clock."""
    try:
        return datetime.fromisoformat(told).astimezone()
    except (ValueError, OverflowError) as error:
        msg = f"{told!r} is no time; give one in ISO 8601, as 2026-01-31 or 2026-01-31T12:00:00Z"
        raise typer.BadParameter(msg) from error


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Branch = Annotated[str | None, typer.Option("--branch", help="Only of this branch.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")]
NoReuse = Annotated[
    bool, typer.Option("--no-reuse", help="Make everything, also what an earlier run has made of the same inputs.")
]
RunOption = Annotated[
    str | None,
    typer.Option("--run", help="Run id, or branch and number: f26/464. Default: the newest run."),
]
StageOption = Annotated[
    str | None, typer.Option("--stage", parser=_one_of(*BY_NAME), metavar="STAGE", help="Of this stage.")
]
OutcomeOption = Annotated[
    str | None,
    typer.Option(
        "--outcome", parser=_one_of(*Status, RUNNING), metavar="STATUS", help="That ended so, or are RUNNING."
    ),
]
Since = Annotated[
    datetime | None, typer.Option("--since", parser=_moment, metavar="TIME", help="That ended then or later.")
]
Until = Annotated[datetime | None, typer.Option("--until", parser=_moment, metavar="TIME", help="That ended before.")]
