"""Airflow's database and ours, brought to the schema of the installed version."""

import subprocess
import sys

from ci_pipeline import store
from ci_pipeline.errors import StackError
from ci_pipeline.stack.command import environment_of_airflow


def bring_up_to_date(url: str) -> None:
    """Migrate both databases. Safe to repeat; its output is Airflow's own.

    Args:
        url: of our database; Airflow knows its own.

    Raises:
        DatabaseUnreachable: ours is away.
        StackError: Airflow's could not be migrated.
    """
    store.migrate(url)
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(command, env=environment_of_airflow(), stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    if done.returncode:
        msg = "Airflow's database could not be migrated; what it said is above"
        raise StackError(msg)
