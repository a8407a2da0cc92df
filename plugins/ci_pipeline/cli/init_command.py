"""`init`: what has to be there before the pipeline starts in containers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from ci_pipeline import deployment, settings
from ci_pipeline.cli.bring_up import dags_of, declare, pools_of
from ci_pipeline.cli.output import say
from ci_pipeline.errors import SettingsError
from ci_pipeline.stack import airflow

Folder = Annotated[
    Path,
    # It is for root alone to list; a step that has no use for it must not mind.
    typer.Option("--folder", envvar="CI_PIPELINE_SECRETS", readable=False, help="Where `secrets` writes to, as root."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)


def init(
    steps: Annotated[list[str], typer.Argument(metavar="STEP...", help="secrets, schema or airflow, in this order.")],
    *,
    folder: Folder = Path("/etc/ci-pipeline"),
    renew: Annotated[
        list[str] | None, typer.Option("--renew", metavar="NAME", help="Of `secrets`: make this one anew; repeatable.")
    ] = None,
) -> None:
    """Prepare the services of docker-compose.yaml, or of Kubernetes: docs/deployment.md. Safe to repeat.

    secrets: make passwords and keys, once, and write each service's to where it alone can read them.
    schema: bring both databases to this version's schema, and declare the queue on the bus.
    airflow: set up the pools, and unpause the DAGs; the api-server and the dag-processor have to run.
    """
    known = _steps(folder, renew or [])
    if unknown := [step for step in steps if step not in known]:
        msg = f"there is no step {', '.join(unknown)}; there are {', '.join(known)}"
        raise SettingsError(msg)
    for step in steps:
        say(known[step]())


def _steps(folder: Path, renew: list[str]) -> Mapping[str, Callable[[], str]]:
    return {"secrets": lambda: _secrets(folder, renew), "schema": _schema, "airflow": _airflow}


def _secrets(folder: Path, renew: list[str]) -> str:
    return f"{len(deployment.write(folder, renew=renew))} files below {folder} are up to date"


def _schema() -> str:
    configured = settings.load()
    deployment.bring_up_to_date(configured.database.url.get_secret_value())
    declare(configured, configured.bus.url.get_secret_value())
    return "the databases have this version's schema, and the bus has our queue"


def _airflow() -> str:
    configured = settings.load()
    account = configured.airflow
    pools, dags = pools_of(configured), dags_of(configured)
    url = account.internal_url or account.url
    with airflow.Api(url, account.username, account.password.get_secret_value()) as api:
        api.ensure_pools(pools)
        api.unpause(dags)
    return f"Airflow has {len(pools)} pools, and {len(dags)} DAGs that are not paused"
