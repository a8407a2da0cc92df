"""Make a cluster of the hosts, or find the one there is."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

from ci_pipeline.errors import ExecutorError
from ci_pipeline.stages import CONFIGURE_CLUSTER
from operators.stage import StageOperator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Where Airflow's connections of type `kubernetes` keep it, today and in the past.
_KUBECONFIG: Final = ("kube_config", "extra__kubernetes__kube_config")


class ConfigureClusterOperator(StageOperator):
    """Runs the configured installer. Whichever it is, it leaves a kubeconfig in the folder of the cluster."""

    stage = CONFIGURE_CLUSTER
    ui_color = "#e0f7fa"

    @contextmanager
    def secret_files(self, workspace: Path) -> Iterator[dict[str, str]]:
        """Put the kubeconfig of the configured connection into the workspace, for our account alone."""
        connection = self.settings.conformance.connection
        if not connection or self.settings.conformance.cluster != "existing":
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
