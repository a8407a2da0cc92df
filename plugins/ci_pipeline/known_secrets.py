"""Which values of the settings and of the environment are secrets."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from ci_pipeline import redaction

# Options of Airflow's, which the environment or the stack's own file has.
_OF_AIRFLOW: Final = (
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CELERY__RESULT_BACKEND",
)
# Keys of pipeline.toml that hold a secret, or an address with one; the value of each is a SecretStr.
KEYS: Final = ("bus.url", "database.url", "airflow.password", "provenance.passphrase", "provision.duffy.key")
# What the tools of clouds read for themselves; playbooks that provision have it in their environment.
_OF_CLOUDS: Final = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "OS_PASSWORD",
    "OS_TOKEN",
    "OS_APPLICATION_CREDENTIAL_SECRET",
)
# Of keys of Standard Webhooks.
_KEY_MARK: Final = "whsec_"


def of_section(section: BaseModel) -> Iterator[str]:
    """Yield the secrets of the settings, or of a part of them; of an address only its password is one."""
    for value in section.__dict__.values():
        yield from _in(value)


def written_into(document: Mapping[str, Any]) -> list[str]:
    """Return the keys of a parsed pipeline.toml whose secret is written there, where the environment has its place."""
    found = []
    for key in KEYS:
        value = _at(document, key.split("."))
        if isinstance(value, str) and any(_of(value)):
            found.append(key)
    return found


def _at(document: Any, path: list[str]) -> Any:
    """Return what a document has at a path, None where it has nothing there."""
    for name in path:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


def of_environment(environment: Mapping[str, str | None], named: Iterable[str]) -> Iterator[str]:
    """Yield the secrets of an environment.

    Args:
        environment: its variables.
        named: the variables that the settings name: those of the sinks.
    """
    for name in named:
        yield from of_variable(environment.get(name) or "")
    for name in (*_OF_AIRFLOW, *_OF_CLOUDS):
        yield from _of(environment.get(name) or "")


def of_variable(value: str) -> Iterator[str]:
    """Yield the secrets of a variable: what it holds; of several keys that sign each, without its mark, too."""
    yield from {value, value.strip()}
    for word in value.split():
        if word.startswith(_KEY_MARK):
            yield from (word, word.removeprefix(_KEY_MARK))


def _in(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield from _of(value.get_secret_value())
    elif isinstance(value, BaseModel):
        yield from of_section(value)
    elif isinstance(value, Mapping):
        yield from (secret for one in value.values() for secret in _in(one))
    elif isinstance(value, list):
        yield from (secret for one in value for secret in _in(one))


def _of(text: str) -> Iterable[str]:
    return redaction.passwords_in(text) if "://" in text else [text]
