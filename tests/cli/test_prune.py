"""`prune` removes what is no longer kept; `images` and `results` say what is gone."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from ci_pipeline import settings, store
from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.outcome import Status
from ci_pipeline.retention import airflow_runs
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Image
from tests.cli.conftest import Cli
from tests.makers import new_run, play
from tests.retention.conftest import age, write

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def old_logs(servers: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The old logs of a run nobody knows, and an Airflow that never ran anything."""
    answers = {"access_token": "token", "dag_runs": []}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answers))
    monkeypatch.setattr(airflow_runs, "AirflowApi", lambda to: AirflowApi(to, transport=transport))
    monkeypatch.setenv("CI_PIPELINE_AIRFLOW__LOGS", str(tmp_path))
    settings.current.cache_clear()
    return age(write(tmp_path / "dag_id=ci-pipeline-f26" / "run_id=old" / "x").parent, days=90)


def test_what_goes_is_shown_with_its_size(cli: Cli, old_logs: Path) -> None:
    """First what would go, then what went, then that there is nothing."""
    would, data = cli("prune", "--dry-run"), json.loads(cli("prune", "--dry-run", "--json").stdout)
    still_there = old_logs.is_dir()
    did, nothing = cli("prune"), cli("prune")

    assert str(old_logs) in would.stdout
    assert would.stdout.splitlines()[-1].startswith("1 would be removed, ")
    assert still_there
    assert data["dry_run"] is True
    assert [(one["kind"], one["what"]) for one in data["removed"]] == [("log", str(old_logs))]
    assert data["bytes"] == data["removed"][0]["bytes"] > 10_000
    assert did.stdout.splitlines()[-1].startswith("1 removed, ")
    assert not old_logs.exists()
    assert (nothing.exit_code, nothing.stdout) == (0, "nothing to remove\n")


def test_what_could_not_be_removed_ends_with_1(cli: Cli, old_logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says why."""
    monkeypatch.setenv("PATH", "/nonexistent")
    result = cli("prune")

    assert result.exit_code == 1
    assert "is not installed here" in result.stderr
    assert old_logs.is_dir()


def test_results_say_that_a_run_was_pruned(cli: Cli, current: Settings) -> None:
    """Nobody looks for its logs in vain."""
    run = new_run()
    play(current, run, Status.SUCCESS)
    before = cli("results", "--run", run.run_id).stdout
    with store.session() as session:
        runs.locked(session, run.id).pruned_at = datetime(2026, 1, 2, tzinfo=UTC)
    after, data = cli("results", "--run", run.run_id).stdout, cli("results", "--run", run.run_id, "--json").stdout

    assert "pruned" not in before
    assert "its logs and files are gone" in after
    assert json.loads(data)["pruned_at"] == "2026-01-02T00:00:00Z"


def test_images_say_which_file_is_no_longer_kept(cli: Cli, current: Settings) -> None:
    """With the time it went."""
    play(current, new_run(), *[Status.SUCCESS] * 6)
    with store.session() as session:
        session.query(Image).one().removed_at = datetime(2026, 1, 2, 12, tzinfo=UTC)

    assert json.loads(cli("images", "--json").stdout)[0]["removed_at"] == "2026-01-02T12:00:00Z"
    assert "2026-01-02" in cli("images").stdout
