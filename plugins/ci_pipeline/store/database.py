"""Connections to the database, and its schema."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from ci_pipeline import settings
from ci_pipeline.errors import DatabaseUnreachable
from ci_pipeline.patience import say_why

T = TypeVar("T")

_RETRY_SECONDS_MAX: Final = 5.0
_KEPT_OPEN: Final = 5
_MIGRATIONS = Path(__file__).parent / "migrations"
# libpq's: a server that hangs, or a network that swallows packets, is noticed within half a minute.
_CONNECTION: Final = {
    "application_name": "ci-pipeline",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

_log = logging.getLogger(__name__)


@cache
def engine(url: str) -> Engine:
    """Return this process's engine of a database URL.

    It keeps a few connections open between transactions: to make one takes longer than most transactions do. One that
    the server has closed meanwhile is replaced.
    """
    made = create_engine(
        url, pool_size=_KEPT_OPEN, max_overflow=-1, pool_use_lifo=True, pool_pre_ping=True, connect_args=_CONNECTION
    )
    event.listen(made, "connect", _use_utc)
    # Airflow forks a process per task, and no two processes can share a connection.
    os.register_at_fork(after_in_child=partial(made.dispose, close=False))
    return made


def let_go() -> None:
    """Close the connections that this process keeps open: for before it waits long, or forgets a database."""
    url = settings.current().database.url.get_secret_value()
    engine(url).dispose()


@contextmanager
def session(url: str | None = None) -> Iterator[Session]:
    """Open one transaction: committed at the end, rolled back on any error.

    Args:
        url: SQLAlchemy URL; default: the one of the settings.

    Raises:
        DatabaseUnreachable: the database is away or goes away; whether the transaction was committed is not known.
    """
    target = url or settings.current().database.url.get_secret_value()
    try:
        with Session(engine(target), expire_on_commit=False) as opened, opened.begin():
            yield opened
    except DBAPIError as error:
        if not (isinstance(error, OperationalError) or error.connection_invalidated):
            raise
        raise _unreachable(error, target) from error


def transact(work: Callable[[Session], T]) -> T:
    """Do work in a transaction of its own; if the database goes away meanwhile, do it again when it is back.

    Args:
        work: may be done again after a commit whose answer was lost, so doing it twice must be doing it once.

    Raises:
        DatabaseUnreachable: it is away for longer than `database.patience_seconds`.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(DatabaseUnreachable),
        wait=wait_random_exponential(multiplier=0.2, max=_RETRY_SECONDS_MAX),
        stop=stop_after_delay(settings.current().database.patience_seconds),
        before_sleep=say_why(_log),
        reraise=True,
    )

    def once() -> T:
        with session() as opened:
            return work(opened)

    return retrying(once)


def migrate(url: str) -> None:
    """Bring the schema of the database at `url` to the newest revision. Safe to repeat."""
    # Alembic is slow to import, and only `ci-pipeline up` needs it; every task of every run imports this module.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    # Alembic's options go through configparser, where a percent sign (of a quoted password) starts an interpolation.
    config.attributes["url"] = url
    command.upgrade(config, "head")


def _unreachable(error: DBAPIError, url: str) -> DatabaseUnreachable:
    place = make_url(url)
    reason = next(iter(str(error.orig).strip().splitlines()), "it said nothing")
    return DatabaseUnreachable(
        f"the database at {place.host or 'the local socket'}:{place.port or 5432} does not answer: {reason}"
    )


def _use_utc(connection: object, _record: object) -> None:
    with connection.cursor() as cursor:  # type: ignore[attr-defined]  # a DBAPI connection, which has no common type
        cursor.execute("SET TIME ZONE 'UTC'")
