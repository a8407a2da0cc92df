"""What is asked of PostgreSQL, and how it goes about it."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, text

from ci_pipeline import store
from ci_pipeline.settings import Settings
from ci_pipeline.store import database
from tests.database import empty_large

# Of every row there are so many that reading all of them would be felt.
LARGE = {"run", "inbound", "outbox", "stage_result", "test_result", "artifact", "image", "waiver"}

Statement = tuple[str, Any]


@contextmanager
def filled_with(statements: Iterable[str], *, runs: int) -> Iterator[None]:
    """Fill the database, which is empty again afterwards; `runs` is a parameter of the statements."""
    # A connection looks up what a row refers to as was best when it did so first: in empty tables by reading them all.
    store.let_go()
    with store.session() as session:
        for statement in (*statements, "ANALYZE"):
            session.execute(text(statement), {"runs": runs})
    try:
        yield
    finally:
        empty_large()


@contextmanager
def listening(settings: Settings) -> Iterator[list[Statement]]:
    """Keep every statement that is sent, with its parameters."""
    engine = database.engine(settings.database.url.get_secret_value())
    statements: list[Statement] = []

    def keep(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", keep)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", keep)


def steps_of(statement: str, parameters: Any, *, carried_out: bool = False) -> list[dict[str, Any]]:
    """Return the steps by which PostgreSQL would go, or has gone, about a statement."""
    how = "ANALYZE, FORMAT JSON" if carried_out else "FORMAT JSON"
    with store.session() as session:
        told = session.connection().exec_driver_sql(f"EXPLAIN ({how}) {statement}", parameters).scalar_one()
    plans = told if isinstance(told, list) else json.loads(told)
    return list(_steps(dict(plans[0]["Plan"])))


def read_whole(steps: list[dict[str, Any]]) -> set[str]:
    """Return the large tables that steps read from their beginning."""
    return {step["Relation Name"] for step in steps if step["Node Type"].endswith("Seq Scan")} & LARGE


def rows_read(steps: list[dict[str, Any]]) -> int:
    """Return how many rows steps that were carried out took from tables, those they then threw away among them."""
    of_tables = [step for step in steps if "Relation Name" in step]
    return sum(
        round((step["Actual Rows"] + step.get("Rows Removed by Filter", 0)) * step["Actual Loops"])
        for step in of_tables
    )


def _steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _steps(part)
