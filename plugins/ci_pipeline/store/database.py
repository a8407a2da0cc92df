"""Connections to the database, and its schema."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Engine, NullPool, create_engine, event
from sqlalchemy.orm import Session

from ci_pipeline import settings

_MIGRATIONS = Path(__file__).parent / "migrations"


@lru_cache(maxsize=4)
def engine(url: str) -> Engine:
    """Return the engine of a database URL.

    No pool: Airflow forks a process per task, and a pooled connection must not be shared across a fork.
    """
    made = create_engine(url, poolclass=NullPool, connect_args={"application_name": "ci-pipeline"})
    event.listen(made, "connect", _use_utc)
    return made


@contextmanager
def session(url: str | None = None) -> Iterator[Session]:
    """Open one transaction: committed at the end, rolled back on any error.

    Args:
        url: SQLAlchemy URL; default: the one of the settings.
    """
    target = url or settings.current().database.url.get_secret_value()
    with Session(engine(target), expire_on_commit=False) as opened, opened.begin():
        yield opened


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


def _use_utc(connection: object, _record: object) -> None:
    with connection.cursor() as cursor:  # type: ignore[attr-defined]  # a DBAPI connection, which has no common type
        cursor.execute("SET TIME ZONE 'UTC'")
