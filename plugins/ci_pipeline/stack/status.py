"""How the stack is: what runs, whether it answers, and what to do when it does not."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ci_pipeline.stack import airflow, artifacts, components, environment, ports, postgres, processes, rabbitmq, record
from ci_pipeline.stack.handle import locate
from ci_pipeline.stack.layout import Layout
from ci_pipeline.stack.record import Record, Secrets
from ci_pipeline.stack.supervisor import ProcessInfo, Supervisor

OK = "healthy"
_SILENT = "does not answer"


@dataclass(frozen=True)
class ComponentStatus:
    """One component.

    Attributes:
        name: see `components.ALL`.
        state: `running`, `starting`, `stopping`, `stopped` or `dead` (was started and is gone).
        healthy: it runs and answers.
        detail: what its health check said.
        pid: None without a process.
        uptime: seconds; None without a process.
        port: loopback port; None if it has none.
        log: its log.
        advice: what to do; "" when healthy.
    """

    name: str
    state: str
    healthy: bool
    detail: str
    pid: int | None
    uptime: int | None
    port: int | None
    log: Path
    advice: str


@dataclass(frozen=True)
class StackStatus:
    """How the stack is.

    Attributes:
        state: the state folder.
        running: the process manager runs.
        components: in starting order; empty unless the process manager runs.
        leftovers: processes that outlived the process manager; `up` and `down` end them.
        airflow_url: address of Airflow's UI; "" if the stack was never started.
    """

    state: Path
    running: bool
    components: tuple[ComponentStatus, ...]
    leftovers: int
    airflow_url: str

    @property
    def healthy(self) -> bool:
        """Whether every component runs and answers."""
        return self.running and all(component.healthy for component in self.components)


_STATES: Final = {
    "RUNNING": "running",
    "STARTING": "starting",
    "STOPPING": "stopping",
    # Supervisor stops a program only when asked to; everything else that is gone died.
    "STOPPED": "stopped",
}


def status(*, state: Path | None = None) -> StackStatus:
    """Look at the stack; changes nothing.

    Raises:
        StackError: its records cannot be read.
    """
    layout = locate(state)
    known = record.load(layout)
    manager = Supervisor(layout)
    if known is None or not manager.is_running():
        url = environment.airflow_url(known) if known else ""
        return StackStatus(layout.state, False, (), len(processes.of_stack(layout.state)), url)  # noqa: FBT003
    infos = manager.processes()
    running = {name: info for name, info in infos.items() if info.pid}
    details = _probe(known, record.load_or_create_secrets(layout), running)
    found = tuple(_describe(layout, known, infos[name], details.get(name, "")) for name in components.ALL)
    return StackStatus(layout.state, True, found, 0, environment.airflow_url(known))  # noqa: FBT003


def _probe(known: Record, secrets: Secrets, running: Mapping[str, ProcessInfo]) -> dict[str, str]:
    """Ask every running component how it is; return `healthy` or what is wrong, by name."""
    checks: dict[str, Callable[[], bool]] = {
        "epmd": lambda: ports.answers(known.ports["epmd"]),
        "rabbitmq": lambda: rabbitmq.is_ready(known.ports["rabbitmq"], secrets),
        "postgres": lambda: postgres.is_ready(known.ports["postgres"], secrets),
        "artifacts": lambda: artifacts.is_ready(environment.artifacts_url(known)),
    }
    wanted = {name: check for name, check in checks.items() if name in running}
    # Side by side: a component that hangs costs its own timeout only.
    with ThreadPoolExecutor(max_workers=len(checks) + 1) as pool:
        pending = {name: pool.submit(check) for name, check in wanted.items()}
        told = pool.submit(airflow.health, environment.airflow_url(known))
        answers = {name: OK if future.result() else _SILENT for name, future in pending.items()}
    found = told.result()
    unknown = "unknown while the api-server does not answer"
    return {**answers, **{name: found.get(name, unknown) for name in components.AIRFLOW if name in running}}


def _describe(layout: Layout, known: Record, info: ProcessInfo, detail: str) -> ComponentStatus:
    """Put together the status of one component; `detail` is what `_probe` heard, "" if it does not run."""
    healthy = bool(info.pid) and detail == OK
    # Supervisor calls a program STARTING for some seconds, whatever it does.
    state = "running" if healthy else _STATES.get(info.state, "dead")
    return ComponentStatus(
        name=info.name,
        state=state,
        healthy=healthy,
        detail=detail or info.problem or state,
        pid=info.pid or None,
        uptime=info.uptime if info.pid else None,
        port=known.ports.get(info.name),
        log=layout.log_of(info.name),
        advice="" if healthy else _advice(layout, info, state),
    )


def _advice(layout: Layout, info: ProcessInfo, state: str) -> str:
    log = layout.log_of(info.name)
    match state:
        case "stopped":
            return "not started; run `ci-pipeline up`"
        case "dead":
            return f"it died, and is started again: if it stays so, read {log}"
        case "starting" | "stopping":
            return f"wait a moment; if it stays so, read {log}"
        case _:
            return f"it runs but is not well: read {log}; if that does not help, `ci-pipeline down` and `up`"
