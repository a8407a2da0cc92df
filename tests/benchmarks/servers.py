"""A PostgreSQL and a RabbitMQ for the benchmarks that need no Airflow."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ci_pipeline import settings, stack, store
from ci_pipeline.settings import Settings


@contextlib.contextmanager
def servers(state: Path) -> Iterator[Settings]:
    """Start both with our schema, as the local stack has them (what is committed is on the disk); end them."""
    with environment({settings.STATE_VARIABLE: str(state)}):
        try:
            stack.up(state=state, wanted=("postgres", "rabbitmq"))
            settings.current.cache_clear()
            yield settings.current()
        finally:
            store.let_go()
            stack.down(state=state)


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while; the settings are read anew with them, and without them afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    settings.current.cache_clear()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        settings.current.cache_clear()
