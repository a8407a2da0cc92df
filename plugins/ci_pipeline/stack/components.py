"""The programs of the stack: their names, their order, and what each needs.

A program is described as data; `config` writes it down for the process manager.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ci_pipeline.errors import StackError

SERVERS: Final = ("epmd", "rabbitmq", "postgres")
AIRFLOW: Final = ("api-server", "scheduler", "dag-processor", "triggerer")
ALL: Final = (*SERVERS, "artifacts", *AIRFLOW)
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "rabbitmq": ("epmd",),
    **dict.fromkeys(AIRFLOW, ("postgres", *AIRFLOW)),
}


@dataclass(frozen=True)
class Program:
    """One supervised program.

    Attributes:
        name: one of ALL.
        command: program and arguments; no secrets, `ps` shows them.
        environment: variables on top of the process manager's own.
        folder: working directory.
        start_seconds: a program that ends sooner has failed to start; later, it is restarted.
        stop_signal: what asks it to end.
        stop_seconds: how long it may take before it is killed.
        signal_group: send the stop signal to its whole process group, not only to itself.
    """

    name: str
    command: tuple[str, ...]
    folder: str
    environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: int = 1
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    signal_group: bool = True


def with_needs(components: Iterable[str]) -> tuple[str, ...]:
    """Return the components and what they need, in starting order.

    Raises:
        StackError: there is no such component.
    """
    wanted = set(components)
    unknown = sorted(wanted - set(ALL))
    if unknown:
        msg = f"no component {', '.join(unknown)}; there are {', '.join(ALL)}"
        raise StackError(msg)
    needed = {need for name in wanted for need in _NEEDS.get(name, ())}
    return tuple(name for name in ALL if name in wanted | needed)
