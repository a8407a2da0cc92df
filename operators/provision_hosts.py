"""Have the hosts of a cluster: machines that boot the image that was just smoke-tested, or hosts of a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow.task.trigger_rule import TriggerRule

from ci_pipeline import conformance
from ci_pipeline.errors import ExecutorError
from ci_pipeline.executors.report import Report, infrastructure_failure
from ci_pipeline.outcome import Status
from ci_pipeline.stages import PROVISION_HOSTS
from ci_pipeline.store import leases
from operators.leased import LeasedStageOperator
from operators.lent_hosts import LentHostsOperator

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from airflow.sdk import Context
    from sqlalchemy.orm import Session

    from ci_pipeline.store.tables import Run

_NO_HOSTS: Final = {
    "existing": "no hosts to provision: the cluster is there already",
    "control-plane": "no hosts to provision: the control plane runs on the builder",
}


class ProvisionHostsOperator(LeasedStageOperator, LentHostsOperator):
    """Has the hosts of the cluster, and decides whether there is to be one at all.

    A branch has one cluster at a time. Other runs wait for it, deferred, until it is torn down. The task runs though
    no image was due: conformance tests may be wanted of the branch's newest.
    Hosts of a provider stay lent until the cluster is torn down, and are put on the image's commit.
    """

    stage = PROVISION_HOSTS
    ui_color = "#e0f7fa"

    def __init__(self, **kwargs: Any) -> None:
        """Make the task one that runs after skipped ones, too."""
        super().__init__(trigger_rule=TriggerRule.NONE_FAILED, **kwargs)

    def lease_of(self, run: Run) -> str:
        """Return the lease of the cluster."""
        return leases.cluster_of(run.branch, self.settings.conformance)

    def skip_reason(self, session: Session, run: Run, context: Context) -> str:
        """Return why there is no cluster in this run."""
        ended = super().skip_reason(session, run, context)
        return ended or conformance.skip_reason(session, self.settings, run)

    def carry_out(self, run: Run, workspace: Path) -> Report:
        """Have the hosts, where the cluster is to have any."""
        reason = _NO_HOSTS.get(self.settings.conformance.cluster)
        if reason:
            return Report(status=Status.SKIPPED, reason=reason, outputs={"cluster_hosts": []})
        if self.settings.provision.provider == "qemu":
            return super().carry_out(run, workspace)
        try:
            self.lender.give_back_all(run, self.stage.name)
        except ExecutorError as error:
            return infrastructure_failure(f"the hosts of an earlier try: {error}")
        return self.carry_out_lent(run, workspace, count=self.settings.conformance.hosts, keep=True)
