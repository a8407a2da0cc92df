"""`ci-pipeline init`, on the session's servers."""

import os
from pathlib import Path

import pytest

from ci_pipeline.errors import StackError
from ci_pipeline.settings import ENV_FILE_VARIABLE, Settings
from ci_pipeline.stack.command import environment_of_airflow

from .conftest import Cli


def test_an_unknown_step_is_named_with_those_there_are(cli: Cli, tmp_path: Path) -> None:
    """Nothing is done then, not even the steps before it."""
    told = cli("init", "secrets", "scheme", "--folder", str(tmp_path))

    assert told.exit_code == 2
    assert "there is no step scheme; there are secrets, schema, airflow" in told.stderr
    assert not list(tmp_path.iterdir())


def test_secrets_are_written_and_not_shown(cli: Cli, tmp_path: Path) -> None:
    """What is said goes into the logs of a container."""
    told = cli("init", "secrets", "--folder", str(tmp_path))

    assert told.exit_code == 0
    assert told.output == f"6 files below {tmp_path} are up to date\n"


def test_without_secrets_a_container_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that there is no stack: `up` is not for containers."""
    monkeypatch.setenv(ENV_FILE_VARIABLE, str(tmp_path / "stack.env"))

    with pytest.raises(StackError, match=r"stack.env is not there; run `ci-pipeline init secrets` first"):
        environment_of_airflow()


def test_on_kubernetes_there_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chart gives everything in the environment."""
    monkeypatch.setenv(ENV_FILE_VARIABLE, str(tmp_path / "stack.env"))
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql+psycopg2://airflow@database/airflow")

    assert environment_of_airflow() == dict(os.environ)


def test_what_a_container_was_given_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the file all containers share."""
    file = tmp_path / "stack.env"
    file.write_text("AIRFLOW__CELERY__WORKER_CONCURRENCY='16'\nAIRFLOW_HOME='/somewhere'\n")
    monkeypatch.setenv(ENV_FILE_VARIABLE, str(file))
    monkeypatch.setenv("AIRFLOW__CELERY__WORKER_CONCURRENCY", "2")
    monkeypatch.delenv("AIRFLOW_HOME")

    found = environment_of_airflow()

    assert found["AIRFLOW__CELERY__WORKER_CONCURRENCY"] == "2"
    assert found["AIRFLOW_HOME"] == "/somewhere"


def test_without_an_api_server_no_pools_are_set_up(
    cli: Cli, current: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step fails, and with it what waits for it."""
    monkeypatch.setenv("CI_PIPELINE_AIRFLOW__INTERNAL_URL", "http://127.0.0.1:9")
    told = cli("init", "airflow")

    assert told.exit_code == 1
    assert "Airflow at http://127.0.0.1:9 does not answer" in told.stderr
