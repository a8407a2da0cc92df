"""The secrets of a deployment: made once, kept in one file that root alone can read."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ci_pipeline.errors import StackError
from ci_pipeline.stack.layout import write_private
from ci_pipeline.stack.record import of_airflow, password


@dataclass(frozen=True)
class Keys:
    """Passwords and keys. Letters and digits (but for `airflow_fernet`), so that none needs quoting; never shown."""

    postgres: str = field(repr=False)
    rabbitmq: str = field(repr=False)
    celery: str = field(repr=False)
    erlang_cookie: str = field(repr=False)
    airflow_admin: str = field(repr=False)
    airflow_api: str = field(repr=False)
    airflow_jwt: str = field(repr=False)
    airflow_fernet: str = field(repr=False)


def load_or_create(path: Path) -> Keys:
    """Return the secrets kept at `path`, made on first use.

    A secret that is missing there is made: so a new version gets what it needs, and one is changed by taking it out.

    Raises:
        StackError: the file cannot be read.
    """
    known = _read(path) if path.exists() else {}
    keys = Keys(**(asdict(_generate()) | known))
    if asdict(keys) != known:
        write_private(path, json.dumps(asdict(keys), indent=2) + "\n")
    return keys


def _read(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StackError(_damaged(path)) from error
    names = set(Keys.__dataclass_fields__)
    if not isinstance(known, dict) or not all(isinstance(value, str) and value for value in known.values()):
        raise StackError(_damaged(path))
    return {name: value for name, value in known.items() if name in names}


def _damaged(path: Path) -> str:
    return f"{path} cannot be read; put its backup back, or remove it to have all secrets made anew"


def _generate() -> Keys:
    return Keys(
        postgres=password(32),
        rabbitmq=password(32),
        celery=password(32),
        erlang_cookie=password(32),
        **of_airflow(),
    )
