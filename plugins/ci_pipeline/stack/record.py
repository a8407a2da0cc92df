"""What a stack remembers between starts: its ports, its secrets, and what it was made with."""

import base64
import json
import secrets
import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from ci_pipeline import redaction
from ci_pipeline.errors import StackError
from ci_pipeline.stack import ports
from ci_pipeline.stack.layout import Layout, write_private

PORT_NAMES = ("postgres", "rabbitmq", "rabbitmq-distribution", "epmd", "artifacts", "api-server")


@dataclass(frozen=True)
class Secrets:
    """Passwords and keys. Letters and digits, so that none needs quoting in a URL or a file; never shown."""

    postgres_superuser: str = field(repr=False)
    postgres: str = field(repr=False)
    rabbitmq: str = field(repr=False)
    erlang_cookie: str = field(repr=False)
    airflow_admin: str = field(repr=False)
    airflow_api: str = field(repr=False)
    airflow_jwt: str = field(repr=False)
    airflow_fernet: str = field(repr=False)


@dataclass(frozen=True)
class Record:
    """The remembered facts.

    Attributes:
        ports: name (see PORT_NAMES) to loopback port.
        airflow_schema: Airflow version whose metadata schema the database has; "" before the first migration.
        extra_env: variables of `stack.env` besides the addresses and accounts: the demo's dist-git. No secrets.
    """

    ports: Mapping[str, int]
    airflow_schema: str = ""
    extra_env: Mapping[str, str] = field(default_factory=dict)


def load_or_create_secrets(layout: Layout) -> Secrets:
    """Return the secrets of a stack, made on first use. They are masked from then on."""
    if not layout.secrets.exists():
        write_private(layout.secrets, json.dumps(asdict(_generate())))
    try:
        found = Secrets(**json.loads(layout.secrets.read_text()))
        redaction.hide(asdict(found).values())
    except (ValueError, TypeError) as error:
        raise StackError(_damaged(layout, layout.secrets.name)) from error
    return found


def load(layout: Layout) -> Record | None:
    """Return the record of a stack; None if it was never started."""
    if not layout.record.exists():
        return None
    try:
        record = Record(**json.loads(layout.record.read_text()))
        missing = set(PORT_NAMES) - {name for name, port in record.ports.items() if isinstance(port, int)}
    except (ValueError, TypeError, AttributeError) as error:
        raise StackError(_damaged(layout, layout.record.name)) from error
    return (
        replace(record, ports={**record.ports, **ports.choose(missing, record.ports.values())}) if missing else record
    )


def save(layout: Layout, record: Record) -> None:
    """Keep the record."""
    write_private(layout.record, json.dumps(asdict(record), indent=2) + "\n")


def _generate() -> Secrets:
    return Secrets(
        postgres_superuser=password(32),
        postgres=password(32),
        rabbitmq=password(32),
        erlang_cookie=password(32),
        **of_airflow(),
    )


def of_airflow() -> dict[str, str]:
    """Make Airflow's secrets: the admin's password, and the keys all its components share."""
    return {
        "airflow_admin": password(20),
        "airflow_api": password(64),
        # HS512 wants a key at least as long as its digest; Airflow warns below 64 bytes.
        "airflow_jwt": password(96),
        "airflow_fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }


def password(length: int) -> str:
    """Make a password of letters and digits."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))


def _damaged(layout: Layout, name: str) -> str:
    return f"{layout.state / name} cannot be read; run `ci-pipeline down` and remove {layout.state} to begin anew"
