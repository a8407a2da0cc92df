"""Boot a host deployed from the compose and test it; a pass promotes the candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ci_pipeline.stages import INTEGRATION_TESTS
from operators.lent_hosts import LentHostsOperator

if TYPE_CHECKING:
    from pathlib import Path

    from ci_pipeline.executors.report import Report
    from ci_pipeline.store.tables import Run


class IntegrationTestsOperator(LentHostsOperator):
    """Boots exactly the commit that was composed and runs the tests tagged `atomic` over SSH.

    With `provision.provider = "qemu"` the stage boots it itself. A host of another provider is lent for the stage, runs
    that commit, and is returned however the stage ends.
    Only a SUCCESS moves the branch's ref and adds the packages to the branch's last good set.
    """

    stage = INTEGRATION_TESTS
    ui_color = "#fef7e0"

    def carry_out(self, run: Run, workspace: Path) -> Report:
        """Carry it out on a host of the provider, where it does not boot one itself."""
        if self.settings.provision.provider == "qemu":
            return super().carry_out(run, workspace)
        return self.carry_out_lent(run, workspace)
