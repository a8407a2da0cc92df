"""Options and arguments that several commands share."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Branch = Annotated[str | None, typer.Option("--branch", help="Only of this branch.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")]
RunOption = Annotated[
    str | None,
    typer.Option("--run", help="Run id, or branch and number: f26/464. Default: the newest run."),
]
