"""The variables that Airflow's components and our own processes get: `stack.env`."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ci_pipeline import settings
from ci_pipeline.stack import postgres, rabbitmq
from ci_pipeline.stack.layout import Layout, write_private
from ci_pipeline.stack.ports import LOOPBACK
from ci_pipeline.stack.processes import MARKER
from ci_pipeline.stack.record import Record, Secrets

ADMIN = "admin"
# A shell may carry the settings of another Airflow, database or broker; or have Python compile at every start, which
# doubles the time that Airflow's parts take for theirs.
_FOREIGN = ("AIRFLOW_", "PG", "RABBITMQ_", "ERL_", "SUPERVISOR_", "PYTHONDONTWRITEBYTECODE")


def variables(layout: Layout, record: Record, secrets: Secrets) -> dict[str, str]:
    """Return the content of `stack.env`."""
    return {**_pipeline(layout, record, secrets), **record.extra_env, **_airflow(layout, record, secrets)}


def write(layout: Layout, secrets: Secrets, values: Mapping[str, str]) -> None:
    """Write `stack.env`, and the password file Airflow's simple auth manager wants."""
    write_private(layout.env, "".join(f"{key}='{value}'\n" for key, value in values.items()))
    write_private(_passwords(layout), json.dumps({ADMIN: secrets.airflow_admin}) + "\n")


def of_process_manager(layout: Layout) -> dict[str, str]:
    """Return the environment everything in the stack inherits: the user's, without what would lead it astray."""
    return {
        **of_command(),
        MARKER: str(layout.state),
        # A process that sets its title would otherwise write over its environment, and with it over the marker.
        "SPT_NOENV": "1",
    }


def of_command() -> dict[str, str]:
    """Return the environment of a command beside the stack: the user's, without what would lead it astray."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    tools = str(Path(sys.executable).parent)
    without_proxy = ",".join(filter(None, [inherited.get("NO_PROXY"), LOOPBACK, "localhost"]))
    return {
        **inherited,
        "PATH": os.pathsep.join([tools, inherited.get("PATH", os.defpath)]),
        "NO_PROXY": without_proxy,
        "no_proxy": without_proxy,
    }


def airflow_url(record: Record) -> str:
    """Return the address of Airflow's UI and API."""
    return f"http://{LOOPBACK}:{record.ports['api-server']}"


def artifacts_url(record: Record) -> str:
    """Return the address of the artifacts server."""
    return f"http://{LOOPBACK}:{record.ports['artifacts']}"


def _pipeline(layout: Layout, record: Record, secrets: Secrets) -> dict[str, str]:
    return {
        settings.STATE_VARIABLE: str(layout.state),
        settings.CONFIG_VARIABLE: str(settings.config_file().absolute()),
        "CI_PIPELINE_BUS__URL": rabbitmq.url(record.ports["rabbitmq"], secrets),
        "CI_PIPELINE_DATABASE__URL": postgres.url(record.ports["postgres"], secrets, postgres.PIPELINE_DATABASE),
        "CI_PIPELINE_ARTIFACTS__FOLDER": str(layout.artifacts),
        "CI_PIPELINE_ARTIFACTS__URL": artifacts_url(record),
        "CI_PIPELINE_AIRFLOW__URL": airflow_url(record),
        "CI_PIPELINE_AIRFLOW__USERNAME": ADMIN,
        "CI_PIPELINE_AIRFLOW__PASSWORD": secrets.airflow_admin,
        "CI_PIPELINE_AIRFLOW__LOGS": str(layout.airflow / "logs"),
    }


def options(project: Path) -> dict[str, str]:
    """Return Airflow's options that are the same on one machine and in containers: `SECTION__KEY` to value.

    Args:
        project: folder that holds `dags/` and `plugins/`.
    """
    return {
        "CORE__DAGS_FOLDER": str(project / "dags"),
        "CORE__PLUGINS_FOLDER": str(project / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        # No DNS: a resolver that is slow or absent must not slow every task.
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "5",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        # These three (with CORE__PARALLELISM): a chain of 12 tasks takes 3 s instead of 12. A loop costs 30 ms of CPU,
        # the database's part included: ten a second would take a quarter of a core from the builds beside it.
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25",
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        # A worker that was killed is noticed after this long; Airflow's 300 s is made for flaky networks.
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        # The api-server or its database is away for minutes: a task works on, and says how it ended when they are back.
        "WORKERS__MAX_FAILED_HEARTBEATS": "100",
        "WORKERS__EXECUTION_API_RETRIES": "20",
        "WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "10",
        # The same for a scheduler: the tasks it had in its queue are taken over by the one that follows it.
        "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "LOGGING__COLORED_CONSOLE_LOG": "False",
        # All components share the log folder, so the log servers (which listen on every address) stay off, and
        # whoever would ask one asks port 0: nobody can listen there and be handed a token.
        "LOGGING__WORKER_LOG_SERVER_PORT": "0",
        "LOGGING__TRIGGER_LOG_SERVER_PORT": "0",
    }


def _airflow(layout: Layout, record: Record, secrets: Secrets) -> dict[str, str]:
    chosen = {
        **options(layout.project),
        **_secret_options(record, secrets),
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "16",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_passwords(layout)),
        "CORE__EXECUTION_API_SERVER_URL": f"{airflow_url(record)}/execution/",
        "API__BASE_URL": airflow_url(record),
        "API__HOST": LOOPBACK,
        "API__PORT": str(record.ports["api-server"]),
        # It is on this machine, and has no TLS: no worker reads the certificates of the world before its first task.
        "API__CLIENT_USE_PUBLIC_CERTS": "False",
        "SCHEDULER__ENABLE_HEALTH_CHECK": "False",
    }
    return {"AIRFLOW_HOME": str(layout.airflow), **{f"AIRFLOW__{key}": value for key, value in chosen.items()}}


def _secret_options(record: Record, secrets: Secrets) -> dict[str, str]:
    return {
        "DATABASE__SQL_ALCHEMY_CONN": postgres.url(record.ports["postgres"], secrets, postgres.AIRFLOW_DATABASE),
        "CORE__FERNET_KEY": secrets.airflow_fernet,
        "API__SECRET_KEY": secrets.airflow_api,
        "API_AUTH__JWT_SECRET": secrets.airflow_jwt,
    }


def _passwords(layout: Layout) -> Path:
    return layout.airflow / "passwords.json"
