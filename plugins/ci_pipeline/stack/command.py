"""Airflow's own command line, with the environment of the stack's components."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from dotenv import dotenv_values

from ci_pipeline import settings
from ci_pipeline.errors import StackError
from ci_pipeline.stack import environment, record
from ci_pipeline.stack.handle import locate

# Whoever knows this knows all of Airflow's secrets from its environment.
_DATABASE: Final = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


def become_airflow(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by `airflow ARGUMENTS...`.

    Raises:
        StackError: there is no stack.
    """
    command = [sys.executable, "-m", "airflow", *arguments]
    os.execve(command[0], command, environment_of_airflow())  # noqa: S606 - no shell is meant


def environment_of_airflow() -> dict[str, str]:
    """Return the environment of Airflow's command line on this stack, or in this container.

    Raises:
        StackError: there is neither.
    """
    if settings.in_container():
        return _of_container(settings.env_file())
    layout = locate()
    known = record.load(layout)
    if known is None:
        msg = "there is no stack yet; run `ci-pipeline up`"
        raise StackError(msg)
    variables = environment.variables(layout, known, record.load_or_create_secrets(layout))
    return {**environment.of_command(), **variables}


def _of_container(file: Path) -> dict[str, str]:
    """What the container was given wins: it is this deployment's own choice. On Kubernetes it is given everything."""
    known = {key: value or "" for key, value in dotenv_values(file).items()} if file.is_file() else {}
    if not known and _DATABASE not in os.environ:
        msg = f"{file} is not there; run `ci-pipeline init secrets` first, or mount what it has written"
        raise StackError(msg)
    return {**known, **os.environ}
