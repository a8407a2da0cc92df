"""End the cluster, whatever became of it."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from ci_pipeline import requests, rules, settings, store
from ci_pipeline.errors import ExecutorError, StageEnded
from ci_pipeline.executors.ansible import AnsibleExecutor
from ci_pipeline.provisioning import Lender
from ci_pipeline.stages import PROVISION_HOSTS
from ci_pipeline.store import leases
from operators.run_of import find_run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ci_pipeline.executors.base import Executor
    from ci_pipeline.executors.report import Report
    from ci_pipeline.store.tables import Run

NAME: Final = "tear_down_cluster"


class TearDownClusterOperator(BaseOperator):
    """Ends the suite and the hosts, removes what they had, and gives the lease of the cluster back.

    Hosts of a provider are returned to it.

    It is the teardown of the steps before it: it runs however they ended, and clearing one of them clears it and them.
    It says nothing on the bus. What it could not end, the reconciler ends once the run is over.
    """

    ui_color = "#f1f3f4"

    def __init__(self, **kwargs: Any) -> None:
        """Make the task one that is tried again."""
        super().__init__(task_id=NAME, retries=3, retry_delay=timedelta(seconds=10), **kwargs)

    @cached_property
    def stage_executor(self) -> Executor:
        """Who runs the playbook."""
        return AnsibleExecutor(playbooks=settings.project_folder() / "playbooks")

    def execute(self, context: Context) -> None:
        """End the cluster."""
        run = store.transact(partial(find_run, context=context))
        if run is None:
            msg = "this run never named a change: it has no cluster"
            raise AirflowSkipException(msg)
        report = self._tear_down(run, try_number=context["ti"].try_number)
        # Also when the suite could not be ended: it ends without its hosts.
        returned = self._return_hosts(run)
        if not rules.is_fine(report.status):
            raise AirflowException(report.reason)
        store.transact(partial(leases.release_cluster, run=run.id))
        self.log.info("the cluster is gone: %d hosts ended, %d returned", report.outputs.get("ended", 0), returned)

    def on_kill(self) -> None:
        """End the playbook when the task is ended."""
        self.stage_executor.cancel()

    def _return_hosts(self, run: Run) -> int:
        try:
            return Lender(settings.current()).give_back_all(run, PROVISION_HOSTS.name)
        except (ExecutorError, StageEnded) as error:
            raise AirflowException(str(error)) from error

    def _tear_down(self, run: Run, try_number: int) -> Report:
        workspace = requests.workspace_of(settings.current(), run, NAME, try_number)
        workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
        request = requests.common(settings.current(), run, NAME, workspace)
        try:
            return self.stage_executor.run(request, workspace=workspace)
        except ExecutorError as error:
            raise AirflowException(str(error)) from error
