"""The database of the tests."""

from sqlalchemy import text

from ci_pipeline import store
from ci_pipeline.store import builder_tables, downstream_tables, host_tables, storm_tables

# Whatever defines tables has to be imported for them to be known.
Base = downstream_tables.Base
assert builder_tables.Base is Base
assert host_tables.Base is Base
assert storm_tables.Base is Base

_COUNT_FROM_1 = (
    "SELECT setval(CAST(format('%I.%I', schemaname, sequencename) AS regclass), 1, false) FROM pg_sequences"
    " WHERE schemaname = current_schema()"
)


def empty() -> None:
    """Empty every table and let ids count from 1 again. Of a few rows: of many, `empty_large` is quicker."""
    with store.session() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())
        session.execute(text(_COUNT_FROM_1))


def empty_large() -> None:
    """Empty every table, however much there is in it."""
    names = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
    with store.session() as session:
        session.connection().exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
