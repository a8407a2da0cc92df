"""The variables of Airflow's components in containers: addresses are names of services, accounts those of `keys`."""

from pathlib import Path
from typing import Final

from ci_pipeline import settings
from ci_pipeline.deployment.keys import Keys
from ci_pipeline.stack import environment, postgres, rabbitmq

API_SERVER: Final = "http://api-server:8080"
CELERY: Final = "celery"
_POSTGRES: Final = "postgres:5432"
_RABBITMQ: Final = "rabbitmq:5672"


def of_components(keys: Keys, *, passwords: Path) -> dict[str, str]:
    """Return the content of `stack.env` for every component of Airflow. Holds secrets.

    Public addresses are not in it: compose gives them to the containers.

    Args:
        keys: the deployment's secrets.
        passwords: the file with the passwords of Airflow's accounts.
    """
    state = settings.state_folder()
    return {
        "CI_PIPELINE_BUS__URL": f"amqp://{rabbitmq.USER}:{keys.rabbitmq}@{_RABBITMQ}/{rabbitmq.VHOST}",
        "CI_PIPELINE_DATABASE__URL": _database(keys, postgres.PIPELINE_DATABASE),
        "CI_PIPELINE_ARTIFACTS__FOLDER": str(state / "artifacts"),
        "CI_PIPELINE_AIRFLOW__INTERNAL_URL": API_SERVER,
        "CI_PIPELINE_AIRFLOW__USERNAME": environment.ADMIN,
        "CI_PIPELINE_AIRFLOW__PASSWORD": keys.airflow_admin,
        "CI_PIPELINE_AIRFLOW__LOGS": str(state / "airflow" / "logs"),
        "AIRFLOW_HOME": str(state / "airflow"),
        **{f"AIRFLOW__{name}": value for name, value in _options(keys, passwords).items()},
    }


def _options(keys: Keys, passwords: Path) -> dict[str, str]:
    database = _database(keys, postgres.AIRFLOW_DATABASE)
    return {
        **environment.options(settings.project_folder()),
        "DATABASE__SQL_ALCHEMY_CONN": database,
        "CORE__FERNET_KEY": keys.airflow_fernet,
        "API__SECRET_KEY": keys.airflow_api,
        "API_AUTH__JWT_SECRET": keys.airflow_jwt,
        "CORE__EXECUTOR": "CeleryExecutor",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "CORE__EXECUTION_API_SERVER_URL": f"{API_SERVER}/execution/",
        "CELERY__BROKER_URL": f"amqp://{CELERY}:{keys.celery}@{_RABBITMQ}/{CELERY}",
        "CELERY__RESULT_BACKEND": f"db+{database}",
        # What the scheduler says of itself on its own loopback, for its health check.
        "SCHEDULER__ENABLE_HEALTH_CHECK": "True",
        "SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
    }


def _database(keys: Keys, name: str) -> str:
    return f"postgresql+psycopg2://{postgres.ROLE}:{keys.postgres}@{_POSTGRES}/{name}"
