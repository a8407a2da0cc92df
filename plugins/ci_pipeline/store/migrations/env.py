"""Alembic's entry: run the migrations on the URL that `ci_pipeline.store.migrate` passes in."""

from alembic import context
from sqlalchemy import NullPool, create_engine

from ci_pipeline.store.tables import Base


def run() -> None:
    """Migrate in one transaction, so that a failure leaves the old schema."""
    url = context.config.attributes["url"]
    with create_engine(url, poolclass=NullPool).connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata, transactional_ddl=True)
        with context.begin_transaction():
            context.run_migrations()


run()
