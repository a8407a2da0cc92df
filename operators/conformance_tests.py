"""Run the Kubernetes e2e conformance tests on a cluster on the new image."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

from ci_pipeline import settings
from ci_pipeline.errors import ExecutorError
from ci_pipeline.stages import CONFORMANCE_TESTS
from ci_pipeline.store import runs
from operators.stage import StageOperator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from airflow.sdk import Context
    from sqlalchemy.orm import Session

    from ci_pipeline.store.tables import Run


# Where Airflow's connections of type `kubernetes` keep it, today and in the past.
_KUBECONFIG: Final = ("kube_config", "extra__kubernetes__kube_config")


class ConformanceTestsOperator(StageOperator):
    """Runs the configured suite against the configured cluster and reads its JUnit.

    Args:
        cluster: `none` (skip) or `existing`; default: `conformance.cluster` of the settings. Templated.
    """

    stage = CONFORMANCE_TESTS
    template_fields: Sequence[str] = (*StageOperator.template_fields, "cluster")
    ui_color = "#e0f2f1"

    def __init__(self, *, cluster: str | None = None, **kwargs: Any) -> None:
        """Take which cluster to use."""
        super().__init__(**kwargs)
        self.cluster = cluster or settings.current().conformance.cluster

    def variables(self) -> dict[str, Any]:
        """Say which cluster it is, whatever the settings say."""
        return {"cluster": self.cluster, **super().variables()}

    @contextmanager
    def secret_files(self, workspace: Path) -> Iterator[dict[str, str]]:
        """Put the kubeconfig of the configured connection into the workspace, for our account alone."""
        connection = self.settings.conformance.connection
        if not connection:
            yield {}
            return
        path = workspace / "kubeconfig"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        try:
            path.write_text(_kubeconfig_of(connection), encoding="utf-8")
            yield {"kubeconfig": str(path)}
        finally:
            path.unlink(missing_ok=True)

    def skip_reason(self, session: Session, run: Run, context: Context) -> str:
        """Return that there is no cluster, or that none is wanted."""
        return runs.no_conformance(run, cluster=self.cluster)


def _kubeconfig_of(connection: str) -> str:
    try:
        extra = Connection.get(connection).extra_dejson
    except (AirflowException, AirflowRuntimeError) as error:
        msg = f"there is no Airflow connection {connection} (conformance.connection)"
        raise ExecutorError(msg) from error
    found = next((extra[key] for key in _KUBECONFIG if extra.get(key)), None)
    if found is None:
        msg = f"the Airflow connection {connection} has no kubeconfig: its extra needs kube_config"
        raise ExecutorError(msg)
    return found if isinstance(found, str) else json.dumps(found)
