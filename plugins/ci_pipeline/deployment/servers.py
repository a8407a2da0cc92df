"""What PostgreSQL and RabbitMQ read when they start in their containers."""

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

from ci_pipeline.deployment.keys import Keys
from ci_pipeline.deployment.variables import CELERY
from ci_pipeline.stack import postgres, rabbitmq

_SALT_BYTES = 4


def roles(keys: Keys) -> str:
    """Return what psql runs at every start: the role, its password as it is now, the databases that are not there."""
    return "\n".join(_statements(keys)) + "\n"


def rabbitmq_conf(definitions: str) -> str:
    """Return the broker's configuration.

    Args:
        definitions: path of the file with its accounts and vhosts, in its container.
    """
    lines = {
        "listeners.tcp.default": "5672",
        # Accounts come from there alone; there is no guest.
        "load_definitions": definitions,
        "log.file": "false",
        "log.console": "true",
        "log.console.level": "info",
        "log.console.use_colors": "off",
        # Each health check of a worker ends without a word: two warnings a minute. A refused login is an error.
        "log.connection.level": "error",
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


def definitions(keys: Keys) -> str:
    """Return the broker's accounts, each with a vhost of its own: the bus, and Celery's queue."""
    accounts = {rabbitmq.USER: (rabbitmq.VHOST, keys.rabbitmq), CELERY: (CELERY, keys.celery)}
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    content: dict[str, list[dict[str, Any]]] = {
        "vhosts": [{"name": vhost} for vhost, _ in accounts.values()],
        "users": [_user(name, password) for name, (_, password) in accounts.items()],
        "permissions": [{"user": name, "vhost": vhost, **everything} for name, (vhost, _) in accounts.items()],
    }
    return json.dumps(content, indent=2) + "\n"


def _statements(keys: Keys) -> Iterator[str]:
    role = postgres.ROLE
    missing = f"NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}')"
    yield f"SELECT 'CREATE ROLE {role} LOGIN' WHERE {missing} \\gexec"
    # Letters and digits.
    yield f"ALTER ROLE {role} PASSWORD '{keys.postgres}';"
    for name in (postgres.AIRFLOW_DATABASE, postgres.PIPELINE_DATABASE):
        missing = f"NOT EXISTS (SELECT FROM pg_database WHERE datname = '{name}')"
        yield f"SELECT 'CREATE DATABASE {name} OWNER {role}' WHERE {missing} \\gexec"


def _user(name: str, password: str) -> dict[str, Any]:
    salt = secrets.token_bytes(_SALT_BYTES)
    # RabbitMQ's own form: the salt, then the digest of salt and password.
    hashed = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    return {"name": name, "password_hash": hashed, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""}
