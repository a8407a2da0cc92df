"""Airflow knows the pipeline's secrets, in the process of every component and of every task."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow._shared import secrets_masker as of_components
from airflow.sdk._shared import secrets_masker as of_tasks
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import MaskSecret

from ci_pipeline import settings
from operators import masking
from tests.canaries import Canaries, canary

PLUGINS = Path(__file__).parents[2] / "plugins"
# A component that has loaded our plugin, as every one does, and logs in every way Airflow and we do.
COMPONENT = """
import logging, sys
import structlog
import airflow.settings
early = structlog.get_logger("used.before")
early.info("begins")
import ci_pipeline_plugin
url = "amqp://us:%s@127.0.0.1" % sys.argv[1][::-1]
for log in (logging.getLogger("ci_pipeline.bus"), logging.getLogger("uvicorn.error"), structlog.get_logger("a"), early):
    log.warning("no answer of %s", url)
    try:
        raise ValueError(url)
    except ValueError:
        log.exception("failed")
print("logged")
"""


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Canaries:
    """A bus whose password is a canary."""
    secret = canary("bus")
    monkeypatch.setenv("CI_PIPELINE_BUS__URL", f"amqp://us:{secret}@127.0.0.1:1/%2F")
    return Canaries({"bus": secret})


@pytest.fixture
def _own_maskers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maskers of the test's own, and no line of a log is changed for the tests that follow."""
    for module in (of_components, of_tasks):
        monkeypatch.setattr(module.SecretsMasker, "mask_secrets_in_logs", False)
        monkeypatch.setattr(module._secrets_masker(), "patterns", set())
        monkeypatch.setattr(module._secrets_masker(), "replacer", None)
    monkeypatch.setattr(masking, "mask_component_logs", lambda: None)


def test_a_component_logs_no_secret(planted: Canaries) -> None:
    """In no line, no argument and no traceback, whoever's logger it is: Airflow's own configuration masks nothing."""
    code = [sys.executable, "-c", COMPONENT, planted.planted["bus"][::-1]]
    environment = os.environ | {"PYTHONPATH": str(PLUGINS)}
    done = subprocess.run(code, capture_output=True, text=True, check=False, env=environment)

    assert done.stdout.endswith("logged\n"), done.stdout + done.stderr
    assert done.stdout.count("***") >= 8
    assert planted.in_text(done.stdout + done.stderr) == set()


@pytest.mark.usefixtures("_own_maskers")
def test_a_task_tells_its_supervisor_who_writes_the_log(planted: Canaries, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow has emptied the masker by then, in both processes."""
    sent: list[Any] = []
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=sent.append), raising=False)
    of_tasks.reset_secrets_masker()
    masking.on_starting()
    (told,) = sent

    assert isinstance(told, MaskSecret)
    assert planted.planted["bus"] in told.value
    assert of_tasks.redact(f"no answer of {planted.planted['bus']}") == "no answer of ***"
    assert of_components.redact(f"no answer of {planted.planted['bus']}") == "no answer of ***"


@pytest.mark.usefixtures("_own_maskers")
def test_settings_that_are_wrong_keep_no_component_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who needs them says so."""
    monkeypatch.setenv("CI_PIPELINE_IMAGE__INTERVAL_HOURS", "soon")
    masking.on_starting()

    assert not of_components.SecretsMasker.is_log_masking_enabled()


def test_a_line_of_a_log_is_masked_as_text_and_as_bytes(planted: Canaries) -> None:
    """A task's process writes JSON as bytes."""
    masking.settings.load()
    line = f'{{"event": "no answer of {planted.planted["bus"]}"}}'

    assert masking.masked(None, "info", line) == '{"event": "no answer of ***"}'
    assert masking.masked(None, "info", line.encode()) == b'{"event": "no answer of ***"}'
    assert masking.masked(None, "info", {"event": 1}) == {"event": 1}


@pytest.mark.usefixtures("planted", "_own_maskers")
def test_a_component_keeps_no_settings_for_the_tasks_forked_from_it() -> None:
    """What an operator has changed in pipeline.toml since holds for the next task, without a restart."""
    masking.tell_airflow()

    assert settings.current.cache_info().currsize == 0
