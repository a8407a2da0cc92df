"""Tells Airflow's secrets masker what the pipeline knows, in every process of Airflow's.

The plugin imports this module in each of them. The process of a task has to tell it anew, and its supervisor with it,
which writes the log: Airflow empties the masker when a task begins. What Airflow's components log themselves passes no
masker at all in Airflow 3.3, so the last step of their logging is one of ours.
"""

from __future__ import annotations

import logging
from typing import Any

import structlog
from airflow._shared import secrets_masker as of_components
from airflow.listeners import hookimpl
from airflow.sdk._shared import secrets_masker as of_tasks
from airflow.sdk.log import mask_secret

from ci_pipeline import redaction, settings
from ci_pipeline.errors import SettingsError

_log = logging.getLogger(__name__)


@hookimpl
def on_starting() -> None:
    """Airflow calls this before a component works, and before a task's process reads its DAG."""
    tell_airflow()


def tell_airflow() -> None:
    """Let Airflow mask every secret this process knows. Done twice it is done once."""
    try:
        # Read, and not kept: a component's tasks are forked from it, and each goes by the settings as they are by then.
        settings.load()
    except SettingsError as error:
        # Whoever needs the settings will say so, too. What Airflow's own options hold is known to Airflow.
        _log.warning("the pipeline's secrets are not masked: %s", error)
        return
    secrets: Any = redaction.known()
    of_components.mask_secret(secrets)
    # Of a task, this tells the supervisor, too.
    mask_secret(secrets)
    of_components.SecretsMasker.enable_log_masking()
    of_tasks.SecretsMasker.enable_log_masking()
    mask_component_logs()


def mask_component_logs() -> None:
    """Mask the finished lines of this process: message, arguments and traceback alike."""
    ways = [structlog.get_config()["processors"]]
    formatters = (handler.formatter for handler in logging.getLogger().handlers)
    ways += [one.processors for one in formatters if isinstance(one, structlog.stdlib.ProcessorFormatter)]
    for processors in ways:
        # In place: a logger that was used before keeps the list it was made with.
        if isinstance(processors, list) and masked not in processors:
            processors.append(masked)


def masked(_logger: Any, _method: str, line: Any) -> Any:
    """Return a line of a log without secrets; the last of structlog's processors."""
    if isinstance(line, bytes):
        return redaction.redacted(line.decode(errors="replace")).encode()
    return redaction.redacted(line) if isinstance(line, str) else line
