"""Bring the whole pipeline up on this machine: the stack, its queue, pools and DAGs."""

from collections.abc import Callable, Mapping

from ci_pipeline import settings, stack
from ci_pipeline.bus import topology
from ci_pipeline.journal import housekeeping
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs


def bring_up(
    progress: Callable[[str], None] = lambda _: None,
    *,
    extra_env: Mapping[str, str] | None = None,
    new_ports: bool = False,
) -> stack.UpResult:
    """Start what does not run, and read the settings anew: they have the stack's addresses then.

    Raises:
        SettingsError: pipeline.toml or the environment is wrong; nothing has been started.
        StackError: something needs a human; the text says what.
        BusUnreachable: the broker refuses our queue.
    """
    configured = settings.load()
    result = stack.up(
        pools=pools_of(configured),
        unpause=dags_of(configured),
        on_ready=[lambda variables: declare(configured, variables["CI_PIPELINE_BUS__URL"])],
        extra_env=extra_env,
        new_ports=new_ports,
        progress=progress,
    )
    settings.current.cache_clear()
    return result


def pools_of(configured: Settings) -> dict[str, stack.Pool]:
    """Return the pools the pipeline's tasks run in, by name."""
    return {f"compose_{branch}": _one_at_a_time(branch) for branch in configured.branches}


def dags_of(configured: Settings) -> list[str]:
    """Return the ids of the pipeline's DAGs."""
    return [*housekeeping(configured), *(runs.dag_id_of(branch) for branch in configured.branches)]


def declare(configured: Settings, url: str) -> None:
    """Declare our queue before anything publishes: a message that no queue takes is gone.

    Raises:
        BusUnreachable: the broker is away or refuses our queue.
    """
    bus = configured.bus
    topology.declare(url, bus.exchange, bus.queue, bus.bindings, files=bus.files)


def _one_at_a_time(branch: str) -> stack.Pool:
    return stack.Pool(slots=1, description=f"composes of {branch}, one at a time", include_deferred=False)
