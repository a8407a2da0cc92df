"""A stack at hand: its folder, what it remembers, and its process manager."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ci_pipeline import settings
from ci_pipeline.errors import StackError
from ci_pipeline.stack import airflow, artifacts, environment, postgres, rabbitmq, supervisor
from ci_pipeline.stack.layout import Layout
from ci_pipeline.stack.record import Record, Secrets
from ci_pipeline.stack.supervisor import Supervisor


@dataclass(frozen=True)
class Stack:
    """A stack whose folder is prepared and whose ports are chosen."""

    layout: Layout
    record: Record
    secrets: Secrets
    supervisor: Supervisor

    @property
    def variables(self) -> dict[str, str]:
        """The content of `stack.env`. Holds secrets."""
        return environment.variables(self.layout, self.record, self.secrets)

    @property
    def config(self) -> str:
        """The process manager's configuration."""
        programs = [
            *rabbitmq.programs(self.layout, self.record),
            postgres.program(self.layout, self.record.ports["postgres"]),
            artifacts.program(self.layout, self.record.ports["artifacts"]),
            *airflow.programs(self.layout, self.variables),
        ]
        return supervisor.config(self.layout, programs)

    @property
    def airflow_url(self) -> str:
        """Address of Airflow's UI and API."""
        return environment.airflow_url(self.record)


def locate(state: Path | None = None) -> Layout:
    """Return the layout of a stack.

    Args:
        state: its folder; default: that of the settings.
    """
    return Layout(state=(state or settings.state_folder()).resolve(), project=settings.project_folder())


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Be the only one who starts or stops this stack.

    Raises:
        StackError: someone else does.
    """
    with layout.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"another `ci-pipeline up` or `down` works on {layout.state}; wait for it to end"
            raise StackError(msg) from error
        yield
