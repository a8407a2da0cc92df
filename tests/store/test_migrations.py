"""The migrations: from an empty database, and from every older schema with rows in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.exc import InternalError

from ci_pipeline import store
from ci_pipeline.settings import Settings
from ci_pipeline.store import database as ours
from tests.database import Base

_SCHEMA = "migrations"
# With the columns the first schema had.
A_RUN = (
    "INSERT INTO run (id, dag_id, run_id, number, namespace, repo, rev, branch, test_guidance)"
    " VALUES (1, 'd', 'r', 1, 'rpms', 'mesa', 'x', 'f26', '')"
)


@pytest.fixture
def url(current: Settings) -> Iterator[str]:
    """An empty place in the database of the session, of the test's own."""
    known = make_url(current.database.url.get_secret_value())
    with create_engine(known, poolclass=NullPool).begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {_SCHEMA}"))
    yield known.update_query_dict({"options": f"-csearch_path={_SCHEMA}"}).render_as_string(hide_password=False)
    with create_engine(known, poolclass=NullPool).begin() as connection:
        connection.execute(text(f"DROP SCHEMA {_SCHEMA} CASCADE"))


def config(url: str) -> Config:
    """Return Alembic's configuration, as `store.migrate` makes it."""
    made = Config()
    made.set_main_option("script_location", str(Path(ours.__file__).parent / "migrations"))
    made.attributes["url"] = url
    return made


def differences(url: str) -> list[object]:
    """Return how the schema of a database differs from the tables of the code."""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


def test_the_migrations_make_the_schema_of_the_tables(url: str) -> None:
    """Neither forgets a column of the other; migrating again changes nothing."""
    store.migrate(url)
    store.migrate(url)

    assert differences(url) == []


def test_rows_from_before_retention_are_kept_and_count_as_not_pruned(url: str) -> None:
    """Forth, back and forth again."""
    command.upgrade(config(url), "0001")
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(A_RUN)
    store.migrate(url)
    command.downgrade(config(url), "0001")
    store.migrate(url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT run_id, pruned_at FROM run")).all()

    assert [tuple(row) for row in rows] == [("r", None)]


def test_runs_and_revisions_from_before_backfills_are_kept(url: str) -> None:
    """A run no message led to was started by hand; revisions of one second get moments of their own."""
    command.upgrade(config(url), "0002")
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO run (id, dag_id, run_id, number, namespace, repo, rev, branch, test_guidance)"
            " VALUES (1, 'd', 'r', 1, 'rpms', 'mesa', 'x', 'f26', ''), (2, 'd', 's', 2, 'rpms', 'mesa', 'y', 'f26', '')"
        )
        connection.exec_driver_sql(
            "INSERT INTO inbound (message_id, topic, digest, body, state, run) VALUES ('', '', '', '', 'queued', 2)"
        )
        connection.exec_driver_sql(
            "INSERT INTO revision"
            " SELECT 'rpms', 'mesa', n, 'f26', '2026-11-01T12:00:00.7Z' FROM generate_series(1, 3) AS n"
        )
    store.migrate(url)
    command.downgrade(config(url), "0002")
    store.migrate(url)
    with engine.connect() as connection:
        kinds = connection.execute(text("SELECT run_id, kind FROM run ORDER BY id")).all()
        moments = connection.execute(text("SELECT committed_at FROM revision ORDER BY rev")).scalars().all()

    assert [tuple(row) for row in kinds] == [("r", "manual"), ("s", "push")]
    assert [moment.microsecond for moment in moments] == [0, 1, 2]


def test_results_from_before_the_datahub_are_named_after_what_they_were_about(url: str) -> None:
    """A result is of the NVR and the compose that its run knew by then, not of those of a later try."""
    command.upgrade(config(url), "0006")
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(A_RUN)
        connection.exec_driver_sql(
            "INSERT INTO stage_result (id, run_id, stage, try_number, outputs) VALUES"
            """ (1, 1, 'build_package', 1, '{"nvr": "n-1-1"}'),"""
            """ (2, 1, 'compose_ostree', 1, '{"compose_rev": "old"}'),"""
            """ (3, 1, 'integration_tests', 1, '{}'), (4, 1, 'compose_ostree', 2, '{"compose_rev": "new"}')"""
        )
    store.migrate(url)
    command.downgrade(config(url), "0006")
    store.migrate(url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT nvr, compose_rev FROM stage_result ORDER BY id")).all()

    assert [tuple(row) for row in rows] == [("n-1-1", ""), ("n-1-1", "old"), ("n-1-1", "old"), ("n-1-1", "new")]


def test_images_from_before_manifests_are_kept_and_get_one_when_validated(url: str) -> None:
    """Those that are there and passed; forth, back and forth again."""
    command.upgrade(config(url), "0007")
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(A_RUN)
        connection.exec_driver_sql(
            "INSERT INTO image (run_id, branch, name, compose_rev, version, sha256, size, validated_at, removed_at)"
            " VALUES (1, 'f26', 'a', '', '', '', 1, NULL, NULL), (1, 'f26', 'b', '', '', '', 1, now(), NULL),"
            " (1, 'f26', 'c', '', '', '', 1, now(), now())"
        )
    store.migrate(url)
    command.downgrade(config(url), "0007")
    store.migrate(url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT name, manifest_sha256 FROM image ORDER BY name")).all()

    assert [tuple(row) for row in rows] == [("a", ""), ("b", "stale"), ("c", "")]


def test_runs_from_before_storms_are_live(url: str) -> None:
    """Forth, back and forth again."""
    command.upgrade(config(url), "0014")
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(A_RUN)
    store.migrate(url)
    command.downgrade(config(url), "0014")
    store.migrate(url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT run_id, lane FROM run")).all()

    assert [tuple(row) for row in rows] == [("r", "live")]


def test_what_is_still_to_be_announced_is_not_given_up(url: str) -> None:
    """The older schema has no place for it: it is published first."""
    store.migrate(url)
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO unannounced (messages, trigger_run_id) VALUES ('{1,2}', 'x')")
    with pytest.raises(InternalError, match="let ci-pipeline-reconciler publish them first"):
        command.downgrade(config(url), "0016")
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM unannounced")
    command.downgrade(config(url), "0016")
    store.migrate(url)

    assert differences(url) == []
