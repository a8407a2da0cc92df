"""Transactions: a database that goes away is said as such, and waited for where work must not be lost."""

import subprocess
import sys

import pytest
from sqlalchemy import NullPool, create_engine, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ci_pipeline import settings, store
from ci_pipeline.errors import DatabaseUnreachable
from ci_pipeline.store.tables import Revision
from tests.makers import change

AWAY = "postgresql+psycopg2://nobody:secret@127.0.0.1:1/nothing"

pytestmark = pytest.mark.usefixtures("database")


def add(session: Session) -> None:
    """Write a row that can be there once."""
    session.add(Revision(committed_at=func.now(), **change().model_dump()))
    session.flush()


def add_and_be_cut_off(session: Session) -> None:
    """Write, and lose the connection before the commit."""
    add(session)
    end_own_connection(session)
    session.execute(text("SELECT 1"))


def end_own_connection(session: Session) -> None:
    """Do to this session's connection what a restart of the server does."""
    with store.session() as other:
        other.execute(select(func.pg_terminate_backend(session.scalar(select(func.pg_backend_pid())))))


def backend() -> int:
    """Return the number of the server's process that a transaction is carried out by."""
    with store.session() as session:
        return int(session.scalar(select(func.pg_backend_pid())) or 0)


def rows() -> int:
    """Return how many rows are there."""
    with store.session() as session:
        return len(session.scalars(select(Revision)).all())


def test_a_database_that_is_away_is_named_without_its_password() -> None:
    """Host and port, and what was said."""
    sentence = r"127\.0\.0\.1:1 does not answer: .*refused"
    with pytest.raises(DatabaseUnreachable, match=sentence) as error, store.session(AWAY) as session:
        session.execute(text("SELECT 1"))

    assert "secret" not in str(error.value)


def test_a_connection_that_is_cut_leaves_nothing_half_done() -> None:
    """In the middle of a transaction."""
    with pytest.raises(DatabaseUnreachable), store.session() as session:
        add_and_be_cut_off(session)

    assert rows() == 0


def test_other_errors_are_not_taken_for_an_absence() -> None:
    """They are bugs, and would come again and again."""
    with store.session() as session:
        add(session)
    with pytest.raises(IntegrityError), store.session() as session:
        add(session)


def test_work_that_is_cut_is_done_again() -> None:
    """All of it, in a new transaction."""
    tries = []

    def work(session: Session) -> str:
        tries.append(session)
        if len(tries) < 3:
            add_and_be_cut_off(session)
        add(session)
        return "done"

    assert store.transact(work) == "done"
    assert len(tries) == 3
    assert rows() == 1


def test_work_that_fails_by_itself_is_not_done_again() -> None:
    """Its error is the caller's."""
    tries = []

    def work(_: Session) -> None:
        tries.append(1)
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        store.transact(work)

    assert len(tries) == 1


def test_patience_ends(caplog: pytest.LogCaptureFixture) -> None:
    """With the reason, which the log has told meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CI_PIPELINE_DATABASE__URL", AWAY)
        patch.setenv("CI_PIPELINE_DATABASE__PATIENCE_SECONDS", "0.5")
        settings.current.cache_clear()
        with pytest.raises(DatabaseUnreachable):
            store.transact(add)
    settings.current.cache_clear()

    assert "waiting: the database at 127.0.0.1:1 does not answer" in caplog.text


def test_a_connection_is_kept_for_the_next_transaction() -> None:
    """To make one takes longer than most transactions do."""
    assert backend() == backend()


def test_a_connection_the_server_has_closed_is_replaced() -> None:
    """Nobody notices a restart between two transactions."""
    before = backend()
    with create_engine(settings.current().database.url.get_secret_value(), poolclass=NullPool).begin() as other:
        other.execute(select(func.pg_terminate_backend(before)))

    assert backend() != before


FORKING = """
import os
from sqlalchemy import func, select
from ci_pipeline import store

def backend():
    with store.session() as session:
        return session.scalar(select(func.pg_backend_pid()))

before = backend()
child = os.fork()
if child == 0:
    os._exit(backend() == before)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), backend() == before)
"""


def test_a_forked_process_has_connections_of_its_own() -> None:
    """Two on one would read each other's answers; what the child does leaves the parent's as it is."""
    ran = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=True)

    assert ran.stdout.split() == ["0", "True"]


def test_what_waits_long_holds_no_connection() -> None:
    """After `let_go` the next transaction has a new one."""
    before = backend()
    store.let_go()

    assert backend() != before
