"""Many rows at once."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from io import StringIO
from typing import Any, Final

import psycopg2
from sqlalchemy import Table, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY, Insert, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

# What the text format of COPY has no other way to write, in the order in which it is to be replaced.
_ESCAPED: Final = (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))
_NULL: Final = "\\N"


def insert_all(session: Session, table: Table, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows, in their order, by COPY: neither side has to write or read a statement that is as long as they are.

    Args:
        session: an open transaction.
        table: where to. It has columns of texts and numbers.
        names: of the columns that are given.
        rows: their values, in the order of the names; None is NULL.

    Raises:
        sqlalchemy.exc.DBAPIError: as for any statement.
    """
    if not rows:
        return
    lines = StringIO("".join(map(_line, rows)))
    statement = _copying(table, names)
    try:
        with closing(_cursor(session)) as cursor:
            cursor.copy_expert(statement, lines)
    except psycopg2.Error as error:
        # Whoever waits for a database that is away knows SQLAlchemy's errors.
        raise DBAPIError.instance(statement, None, error, psycopg2.Error) from error


def _cursor(session: Session) -> Any:
    """Return a cursor of psycopg2's own, in the session's transaction."""
    return session.connection().connection.cursor()


def _copying(table: Table, names: Sequence[str]) -> str:
    columns = ", ".join(f'"{name}"' for name in names)
    return f'COPY "{table.name}" ({columns}) FROM STDIN'


def _line(row: Sequence[Any]) -> str:
    return "\t".join(map(_field, row)) + "\n"


def _field(value: str | float | None) -> str:
    if not isinstance(value, str):
        return _NULL if value is None else str(value)
    for character, escaped in _ESCAPED:
        if character in value:
            value = value.replace(character, escaped)
    return value


def insert_new(session: Session, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, by names of columns, in their order, but leave as it is what is there under its primary key.

    Each column goes as one array: the database need not parse a statement that is as long as all the rows, and Python
    need not write it. That takes a third of the time of the ORM's own way.
    """
    if rows:
        session.execute(_insertion(table, rows).on_conflict_do_nothing(constraint=table.primary_key))


def _insertion(table: Table, rows: Sequence[Mapping[str, Any]]) -> Insert:
    names = list(rows[0])
    arrays = [_array(table, name, [row[name] for row in rows]) for name in names]
    given = func.unnest(*arrays).table_valued(*names, with_ordinality="place").render_derived()
    in_order = select(*(given.c[name] for name in names)).order_by(given.c.place)
    return insert(table).from_select(names, in_order)


def _array(table: Table, name: str, values: list[Any]) -> Any:
    return bindparam(None, values, type_=ARRAY(table.c[name].type))
