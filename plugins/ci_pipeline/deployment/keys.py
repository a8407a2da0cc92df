"""The secrets of a deployment: made once, kept in one file that root alone can read."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from ci_pipeline import redaction
from ci_pipeline.errors import SettingsError, StackError
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


_NAMES: Final = frozenset(Keys.__dataclass_fields__)


def load_or_create(path: Path, renew: Collection[str] = ()) -> Keys:
    """Return the secrets kept at `path`, made on first use; one a newer version needs is made then. They are masked.

    Args:
        path: the file.
        renew: names of secrets to make anew.

    Raises:
        StackError: the file cannot be read.
        SettingsError: there is no secret of such a name.
    """
    if unknown := sorted(set(renew) - _NAMES):
        msg = f"there is no secret {', '.join(unknown)}; there are {', '.join(sorted(_NAMES))}"
        raise SettingsError(msg)
    known = {name: value for name, value in (_read(path) if path.exists() else {}).items() if name not in renew}
    keys = Keys(**(asdict(_generate()) | known))
    redaction.hide(asdict(keys).values())
    if asdict(keys) != known:
        write_private(path, json.dumps(asdict(keys), indent=2) + "\n")
    return keys


def _read(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StackError(_damaged(path)) from error
    if not isinstance(known, dict) or not all(isinstance(value, str) and value for value in known.values()):
        raise StackError(_damaged(path))
    return {name: value for name, value in known.items() if name in _NAMES}


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
