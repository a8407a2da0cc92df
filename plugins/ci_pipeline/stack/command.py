"""Airflow's own command line, with the environment of the stack's components."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ci_pipeline.errors import StackError
from ci_pipeline.stack import environment, record
from ci_pipeline.stack.handle import locate


def become_airflow(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by `airflow ARGUMENTS...`.

    Raises:
        StackError: there is no stack.
    """
    layout = locate()
    known = record.load(layout)
    if known is None:
        msg = "there is no stack yet; run `ci-pipeline up`"
        raise StackError(msg)
    variables = environment.variables(layout, known, record.load_or_create_secrets(layout))
    command = [sys.executable, "-m", "airflow", *arguments]
    os.execve(command[0], command, {**environment.of_command(), **variables})  # noqa: S606 - no shell is meant
