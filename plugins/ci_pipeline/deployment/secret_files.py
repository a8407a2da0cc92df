"""The files of the secrets volume: each readable by the one account whose container needs it.

secrets.json            everything; root's
airflow/stack.env       what the components of Airflow need; theirs
airflow/passwords.json  the passwords of Airflow's accounts; theirs
postgres/roles.sql      PostgreSQL's
rabbitmq/...            the broker's configuration, accounts and cookie; its own
"""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from ci_pipeline.deployment import keys, servers, variables
from ci_pipeline.errors import StackError
from ci_pipeline.settings import STACK_ENV
from ci_pipeline.stack.environment import ADMIN
from ci_pipeline.stack.layout import write_private

# Their numbers in the images (deploy/docker/Dockerfile), by the folder of their secrets.
ACCOUNTS: Final[Mapping[str, int]] = {"airflow": 10001, "postgres": 10002, "rabbitmq": 10003}


def write(folder: Path, *, renew: Collection[str] = ()) -> tuple[Path, ...]:
    """Make the secrets that do not exist yet, and write every file anew from them. Done twice it is done once.

    Args:
        folder: where the volume is mounted, in every container alike.
        renew: names of secrets to make anew.

    Returns:
        The files, but for `secrets.json`.

    Raises:
        StackError: the folder cannot be written, or what it has cannot be read.
        SettingsError: there is no secret of a name in `renew`.
    """
    try:
        _pass_through(folder)
        made = keys.load_or_create(folder / "secrets.json", renew)
        return tuple(_hand_over(folder / name, text) for name, text in _contents(folder, made).items())
    except OSError as error:
        msg = f"the secrets cannot be written to {error.filename or folder}: {error.strerror}; run it as root"
        raise StackError(msg) from error


def _contents(folder: Path, made: keys.Keys) -> dict[str, str]:
    values = variables.of_components(made, passwords=folder / "airflow" / "passwords.json")
    return {
        f"airflow/{STACK_ENV}": "".join(f"{key}='{value}'\n" for key, value in values.items()),
        "airflow/passwords.json": json.dumps({ADMIN: made.airflow_admin}) + "\n",
        "postgres/roles.sql": servers.roles(made),
        "rabbitmq/rabbitmq.conf": servers.rabbitmq_conf(str(folder / "rabbitmq" / "definitions.json")),
        "rabbitmq/definitions.json": servers.definitions(made),
        "rabbitmq/cookie": made.erlang_cookie,
    }


def _hand_over(path: Path, text: str) -> Path:
    """Write a file that the account of its folder alone can read. The folder stays ours: nobody can plant one there."""
    _pass_through(path.parent)
    write_private(path, text)
    account = ACCOUNTS[path.parent.name]
    if os.geteuid() == 0:
        os.chown(path, account, account)
    return path


def _pass_through(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
