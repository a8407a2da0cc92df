"""The command line, run in this process against the session's servers."""

from collections.abc import Callable

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ci_pipeline.cli.app import app

Cli = Callable[..., Result]


@pytest.fixture
def cli() -> Cli:
    """`cli("runs", "--json")`: what came of a command line, with exit_code, stdout and stderr."""

    def run(*words: str, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, words, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
