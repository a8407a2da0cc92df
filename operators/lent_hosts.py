"""A stage that is carried out on hosts of a provider."""

from __future__ import annotations

import shutil
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

from ci_pipeline import requests, rules, store
from ci_pipeline.addresses import artifacts_of
from ci_pipeline.executors.report import Report
from ci_pipeline.outcome import Status
from ci_pipeline.provisioning import Lender
from operators.stage import StageOperator, reported

if TYPE_CHECKING:
    from pathlib import Path

    from ci_pipeline.store.tables import Run

# The playbook that has the disk there, and its folder in the workspace.
_DISK: Final = "provision_disk"


class LentHostsOperator(StageOperator):
    """A stage whose hosts are lent, unless `provision.provider` is qemu: then its playbook boots them itself.

    Where the provider boots what is composed, the disk is there before it is asked; the stage puts other hosts on the
    compose.
    """

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

    def carry_out_lent(self, run: Run, workspace: Path, *, count: int = 1, keep: bool = False) -> Report:
        """Carry the stage out on hosts that are lent for it; with `keep`, they stay lent when it ends well."""
        try:
            return reported(partial(self._with_disk, run, workspace, count=count, keep=keep), workspace)
        finally:
            shutil.rmtree(workspace / _DISK, ignore_errors=True)

    def on_kill(self) -> None:
        """End what asks for hosts, too."""
        if "lender" in self.__dict__:
            self.lender.cancel()
        super().on_kill()

    def _with_disk(self, run: Run, workspace: Path, *, count: int, keep: bool) -> Report:
        # Before the folders in it: the ones above a new folder are made open to others.
        workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = self._have_disk(run, workspace / _DISK)
        if not rules.is_fine(written.status):
            return written
        return self._on_hosts(run, workspace, str(written.outputs.get("disk", "")), count=count, keep=keep)

    def _on_hosts(self, run: Run, workspace: Path, disk: str, *, count: int, keep: bool) -> Report:
        try_number = int(workspace.name.rpartition("-")[2])
        with self.lender.lent(run, self.stage.name, try_number, count=count, disk=disk) as lent:
            compose = "" if disk else f"{artifacts_of(self.settings, run.branch)}/ostree"
            self._lent = {"test_hosts": lent.hosts, "ostree_url": compose}
            report = super().carry_out(run, workspace)
            lent.keep = keep and rules.is_fine(report.status)
            return report

    def _have_disk(self, run: Run, folder: Path) -> Report:
        """Have the disk that the hosts boot: its path is the output `disk`. Of providers that boot none it is none."""
        if not self.settings.provision.boots_what_is_composed:
            return Report(status=Status.SUCCESS)
        make = partial(requests.make, settings=self.settings, run=run, stage=self.stage, workspace=folder)
        request = {**store.transact(make), "stage": _DISK}
        store.let_go()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.stage_executor.run(request, workspace=folder)
