"""The database of the tests."""

from ci_pipeline import store
from ci_pipeline.store.downstream_tables import Base


def empty() -> None:
    """Empty every table and let ids count from 1 again."""
    names = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
    with store.session() as session:
        session.connection().exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
