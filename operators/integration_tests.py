"""Boot a host deployed from the compose and test it; a pass promotes the candidate."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from ci_pipeline.addresses import artifacts_of
from ci_pipeline.errors import ExecutorError, StageEnded
from ci_pipeline.executors.report import Report, aborted, infrastructure_failure
from ci_pipeline.provisioning import Lender
from ci_pipeline.stages import INTEGRATION_TESTS
from operators.stage import StageOperator

if TYPE_CHECKING:
    from pathlib import Path

    from ci_pipeline.store.tables import Run


class IntegrationTestsOperator(StageOperator):
    """Boots exactly the commit that was composed and runs the tests tagged `atomic` over SSH.

    With `provision.provider = "qemu"` the stage boots it itself. A host of another provider is lent for the stage, is
    put on that commit by it, and is returned however it ends.
    Only a SUCCESS moves the branch's ref and adds the packages to the branch's last good set.
    """

    stage = INTEGRATION_TESTS
    ui_color = "#fef7e0"

    def __init__(self, **kwargs: Any) -> None:
        """Begin without hosts."""
        super().__init__(**kwargs)
        self._lent: dict[str, Any] = {}

    @cached_property
    def lender(self) -> Lender:
        """Who lends the hosts."""
        return Lender(self.settings)

    def variables(self) -> dict[str, Any]:
        """Return the hosts that were lent, too, and where they get the compose from."""
        return {**super().variables(), **self._lent}

    def carry_out(self, run: Run, workspace: Path) -> Report:
        """Carry it out on a host of the provider, where it does not boot one itself."""
        if self.settings.provision.provider == "qemu":
            return super().carry_out(run, workspace)
        try_number = int(workspace.name.rpartition("-")[2])
        try:
            with self.lender.lent(run, self.stage.name, try_number, count=1) as hosts:
                self._lent = {"test_hosts": hosts, "ostree_url": f"{artifacts_of(self.settings, run.branch)}/ostree"}
                return super().carry_out(run, workspace)
        except StageEnded as error:
            return aborted(str(error))
        except ExecutorError as error:
            return infrastructure_failure(str(error))

    def on_kill(self) -> None:
        """End what asks for hosts, too."""
        if "lender" in self.__dict__:
            self.lender.cancel()
        super().on_kill()
