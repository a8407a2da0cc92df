"""Start the local stack: servers, schemas, queues, then Airflow."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from ci_pipeline import store
from ci_pipeline.errors import StackError
from ci_pipeline.stack import (
    airflow,
    artifacts,
    components,
    environment,
    ports,
    postgres,
    processes,
    rabbitmq,
    record,
)
from ci_pipeline.stack.handle import Stack, locate, locked
from ci_pipeline.stack.layout import Layout
from ci_pipeline.stack.record import Record
from ci_pipeline.stack.status import OK
from ci_pipeline.stack.supervisor import Supervisor

Hook = Callable[[Mapping[str, str]], None]
Progress = Callable[[str], None]

_SERVER_SECONDS: Final = 60
# A machine busy with a build takes four times as long as an idle one.
_AIRFLOW_SECONDS: Final = 300
_POLL_SECONDS: Final = 0.2
# Who does not stay up after so many starts needs a human.
_STARTS: Final = 3


@dataclass(frozen=True)
class UpResult:
    """What `up` did.

    Attributes:
        state: the state folder.
        started: components that were started, in order; empty if all were up already.
        variables: content of `stack.env`. Holds secrets.
        airflow_url: address of Airflow's UI.
        seconds: how long it took.
        notes: sentences for a human.
    """

    state: Path
    started: tuple[str, ...]
    variables: Mapping[str, str] = field(repr=False)
    airflow_url: str
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def already_up(self) -> bool:
        """Whether there was nothing to start."""
        return not self.started


@dataclass
class _Ascent:
    """One `up` at work."""

    stack: Stack
    wanted: tuple[str, ...]
    progress: Progress
    started: list[str] = field(default_factory=list)

    def start(self, *names: str) -> None:
        """Start those of the components that are wanted and do not run."""
        known = self.stack.supervisor.processes()
        for name in names:
            if name in self.wanted and known[name].is_dead:
                self.stack.supervisor.start_program(name)
                self.started.append(name)

    def wait(self, name: str, ready: Callable[[], bool], seconds: float = _SERVER_SECONDS) -> None:
        """Wait for a wanted component.

        Raises:
            StackError: it gave up or takes too long; names its log.
        """
        if name not in self.wanted:
            return
        deadline, starts = time.monotonic() + seconds, set[int]()
        while not ready():
            info = self.stack.supervisor.processes()[name]
            log = self.stack.layout.log_of(name)
            starts.add(info.started_at)
            if info.is_dead or len(starts) > _STARTS:
                msg = f"{name} does not start ({info.problem or _last_line(log)}); read {log}"
                raise StackError(msg)
            if time.monotonic() > deadline:
                msg = f"{name} is not ready after {seconds:.0f} s; read {log}"
                raise StackError(msg)
            time.sleep(_POLL_SECONDS)


def up(  # noqa: PLR0913 - keyword-only, each an independent choice of the caller
    *,
    state: Path | None = None,
    wanted: Iterable[str] = components.ALL,
    pools: Mapping[str, airflow.Pool] | None = None,
    unpause: Iterable[str] = (),
    on_ready: Iterable[Hook] = (),
    extra_env: Mapping[str, str] | None = None,
    new_ports: bool = False,
    progress: Progress = lambda _: None,
) -> UpResult:
    """Start what does not run yet. Safe to repeat; recovers from a crash or reboot.

    Args:
        state: state folder; default: that of the settings.
        wanted: components to start, see `components.ALL`; what they need is added.
        pools: Airflow pools to create and assert.
        unpause: DAG ids to unpause once they are parsed.
        on_ready: called with `stack.env` when the servers answer and our schema is there, before Airflow starts.
        extra_env: variables that `stack.env` has from now on besides its own; no secrets.
        new_ports: replace kept ports that are in use.
        progress: called with a line for a human before each step.

    Raises:
        StackError: something needs a human; the text says what.
    """
    began = time.monotonic()
    names = components.with_needs(wanted)
    layout = locate(state)
    layout.prepare()
    with locked(layout):
        stack, notes = _open(layout, extra_env or {}, new_ports=new_ports, progress=progress)
        ascent = _Ascent(stack, names, progress)
        _start_servers(ascent)
        if ascent.started:
            _prepare_servers(ascent, on_ready)
        _start_airflow(ascent)
        if "api-server" in names:
            _set_up_airflow(ascent, pools or {}, unpause)
    return UpResult(
        state=layout.state,
        started=tuple(name for name in components.ALL if name in ascent.started),
        variables=stack.variables,
        airflow_url=stack.airflow_url,
        seconds=time.monotonic() - began,
        notes=notes,
    )


def _open(
    layout: Layout, extra_env: Mapping[str, str], *, new_ports: bool, progress: Progress
) -> tuple[Stack, tuple[str, ...]]:
    """Return the stack with its process manager running."""
    manager = Supervisor(layout)
    secrets = record.load_or_create_secrets(layout)
    if manager.is_running():
        known = record.load(layout)
        if known is None:
            msg = f"the stack runs but {layout.record} is gone; run `ci-pipeline down`, then `up`"
            raise StackError(msg)
        return _adopt(Stack(layout, known, secrets, manager), extra_env, new_ports=new_ports)
    notes = _clear_wreck(layout)
    chosen = _ports(layout, new_ports=new_ports)
    chosen = replace(chosen, extra_env={**chosen.extra_env, **extra_env})
    stack = Stack(layout, chosen, secrets, manager)
    record.save(layout, stack.record)
    rabbitmq.configure(layout, stack.record.ports["rabbitmq"], secrets)
    environment.write(layout, secrets, stack.variables)
    progress("starting the process manager")
    manager.start(stack.config)
    return stack, notes


def _adopt(stack: Stack, extra_env: Mapping[str, str], *, new_ports: bool) -> tuple[Stack, tuple[str, ...]]:
    if other := sorted(key for key, value in extra_env.items() if stack.record.extra_env.get(key) != value):
        msg = f"the stack runs without the {', '.join(other)} that is needed; run `ci-pipeline down`, then try again"
        raise StackError(msg)
    if new_ports:
        msg = "ports cannot change while the stack runs; run `ci-pipeline down`, then `ci-pipeline up --new-ports`"
        raise StackError(msg)
    if stack.config == stack.layout.supervisor_config.read_text():
        return stack, ()
    return stack, ("the stack runs with older settings; `ci-pipeline down` and `up` apply the new ones",)


def _clear_wreck(layout: Layout) -> tuple[str, ...]:
    """End what outlived a process manager that was killed, so that nothing runs twice on the same data."""
    left = processes.of_stack(layout.state)
    processes.end(left)
    postgres.forget_stale_pid(layout)
    return (f"ended {len(left)} processes that a crash had left behind",) if left else ()


def _ports(layout: Layout, *, new_ports: bool) -> Record:
    known = record.load(layout)
    if known is None:
        return Record(ports=ports.choose(record.PORT_NAMES))
    occupied = ports.occupied(known.ports)
    if occupied and not new_ports:
        raise StackError(ports.explain(occupied))
    return replace(known, ports={**known.ports, **ports.choose(occupied, known.ports.values())})


def _start_servers(ascent: _Ascent) -> None:
    stack, given = ascent.stack, ascent.stack.record.ports
    ascent.start("epmd")
    ascent.wait("epmd", lambda: ports.answers(given["epmd"]))
    # The broker boots while the cluster is made.
    ascent.start("rabbitmq", "artifacts")
    if "postgres" in ascent.wanted:
        postgres.initialise(stack.layout, stack.secrets)
    ascent.start("postgres")
    if ascent.started:
        ascent.progress(f"starting {', '.join(ascent.started)}")
    ascent.wait("postgres", lambda: postgres.is_ready(given["postgres"], stack.secrets))
    ascent.wait("rabbitmq", lambda: rabbitmq.is_ready(given["rabbitmq"], stack.secrets))
    ascent.wait("artifacts", lambda: artifacts.is_ready(environment.artifacts_url(stack.record)))


def _prepare_servers(ascent: _Ascent, on_ready: Iterable[Hook]) -> None:
    """Make schema and queues, before anything can write to them."""
    stack = ascent.stack
    if "postgres" in ascent.wanted:
        ascent.progress("preparing the databases")
        postgres.create_databases(stack.record.ports["postgres"], stack.secrets)
        store.migrate(stack.variables["CI_PIPELINE_DATABASE__URL"])
    for hook in on_ready:
        hook(stack.variables)


def _start_airflow(ascent: _Ascent) -> None:
    stack = ascent.stack
    if not set(components.AIRFLOW) & set(ascent.wanted):
        return
    if stack.record.airflow_schema != airflow.schema_version():
        ascent.progress("preparing Airflow's database (the first time takes a while)")
        airflow.migrate(stack.layout, stack.variables)
        record.save(stack.layout, replace(stack.record, airflow_schema=airflow.schema_version()))
    before = len(ascent.started)
    ascent.start(*components.AIRFLOW)
    if len(ascent.started) > before:
        ascent.progress(f"starting Airflow: {', '.join(ascent.started[before:])}")
    for name in components.AIRFLOW:
        ascent.wait(name, lambda name=name: airflow.health(stack.airflow_url).get(name) == OK, _AIRFLOW_SECONDS)  # type: ignore[misc]


def _set_up_airflow(ascent: _Ascent, pools: Mapping[str, airflow.Pool], unpause: Iterable[str]) -> None:
    if not pools and not unpause:
        return
    ascent.progress("setting up Airflow's pools and DAGs")
    secrets = ascent.stack.secrets
    with airflow.Api(ascent.stack.airflow_url, environment.ADMIN, secrets.airflow_admin) as api:
        api.ensure_pools(pools)
        api.unpause(unpause)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
