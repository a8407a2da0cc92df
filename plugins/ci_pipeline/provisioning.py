"""Hosts of a provider for a try of a stage: lent before it begins, and returned however it ends.

A lease is in the database before its provider is asked. Whoever lent it returns it; what a killed worker could not, the
reconciler does. Hosts of a cluster are lent by its first step and returned by its last. The two playbooks alone have a
provider's secrets in their environment: the stage itself, which runs code of packages, is told of the hosts, and of the
key to them.
"""

import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from ci_pipeline import requests, rules, settings, store
from ci_pipeline.errors import CiPipelineError, ExecutorError, StageEnded
from ci_pipeline.executors.ansible import AnsibleExecutor
from ci_pipeline.executors.base import Request
from ci_pipeline.executors.report import Report
from ci_pipeline.redaction import redacted
from ci_pipeline.settings import Settings
from ci_pipeline.store import host_leases
from ci_pipeline.store.host_leases import Wanted
from ci_pipeline.store.host_tables import HostLease
from ci_pipeline.store.tables import Run

Host = dict[str, Any]

log = logging.getLogger(__name__)

PROVISION: Final = "provision"
TEARDOWN: Final = "teardown"
_DUFFYS_KEY: Final = "CI_PIPELINE_PROVISION__DUFFY__KEY"
# Variables of the environment that the tools of each provider read, by how they begin. In XDG_RUNTIME_DIR is the socket
# of qemu:///session.
_OF_TOOLS: Final[dict[str, tuple[str, ...]]] = {
    "aws": ("AWS_",),
    "openstack": ("OS_",),
    "libvirt": ("LIBVIRT_", "XDG_RUNTIME_DIR"),
    "linchpin": ("AWS_", "OS_", "LINCHPIN_"),
}
# For the provider's answers and the playbook itself, besides the time that hosts are waited for.
_ASIDE_SECONDS: Final = 600


@dataclass
class Lent:
    """Hosts, as hosts.json has them: name, address, port, user, key, arch, id. `keep`: who has them returns them."""

    hosts: list[Host]
    keep: bool = False


class Lender:
    """Lends hosts for tries of stages, and returns them."""

    def __init__(self, configured: Settings) -> None:
        """Use the provider of the settings."""
        self._settings = configured
        self._lending = self._executor(configured.provision.provider)

    @contextmanager
    def lent(self, run: Run, stage: str, try_number: int, *, count: int, disk: str = "") -> Iterator[Lent]:
        """Lend hosts for the block; what cannot be returned after it is left to the reconciler.

        Args:
            run: the run.
            stage: its stage.
            try_number: Airflow's number of this try.
            count: how many.
            disk: path of a qcow2 that they boot; for providers that boot what is composed.

        Yields:
            the hosts; with `keep` set in the block they stay lent after it.

        Raises:
            ExecutorError: the provider has none for us.
            StageEnded: it was cancelled, or took longer than it may.
        """
        begin = partial(host_leases.begin, run=run, stage=stage, try_number=try_number, wanted=self._wanted(count))
        lease, lent = store.transact(begin), Lent([])
        try:
            lent.hosts = self._lend(lease, run, disk)
            yield lent
        finally:
            if not lent.keep:
                self._give_back_or_leave(lease, run)

    def give_back_all(self, run: Run, stage: str) -> int:
        """Return what all tries of a stage were lent; return how many hosts were asked for.

        Raises:
            ExecutorError: some could not be returned; their lease says why.
        """
        lent_to = store.transact(partial(host_leases.lent_to, run=run, stage=stage))
        for lease in lent_to:
            self.give_back(lease, run)
        return sum(lease.hosts_count for lease in lent_to)

    def give_back(self, lease: HostLease, run: Run, *, anyway: bool = False) -> None:
        """Return the hosts of a lease; what is gone already is no failure.

        Args:
            lease: the lease.
            run: whose it is.
            anyway: also when the hosts are another machine's, which is gone.

        Raises:
            ExecutorError: they could not be returned; the lease says why.
        """
        if (elsewhere := where_to_return(lease)) and not anyway:
            raise ExecutorError(elsewhere)
        # Not the one that is cancelled: what was lent is returned all the same.
        report = self._play(self._executor(lease.provider), TEARDOWN, lease, run)
        if not rules.is_fine(report.status):
            store.transact(partial(host_leases.not_returned, name=lease.name, why=redacted(report.reason)))
            msg = f"lease {lease.name} of {lease.provider} could not be returned: {report.reason}"
            raise ExecutorError(msg)
        shutil.rmtree(self._workspace(TEARDOWN, lease, run), ignore_errors=True)
        store.transact(partial(host_leases.returned, name=lease.name))

    def cancel(self) -> None:
        """End what asks for hosts, from another thread or a signal handler."""
        self._lending.cancel()

    def _wanted(self, count: int) -> Wanted:
        asked = self._settings.provision
        return Wanted(asked.provider, count, asked.hours, socket.gethostname() if asked.is_of_this_machine else "")

    def _give_back_or_leave(self, lease: HostLease, run: Run) -> None:
        try:
            self.give_back(lease, run)
        except CiPipelineError as error:
            log.warning("lease %s is left to the reconciler: %s", lease.name, error)

    def _lend(self, lease: HostLease, run: Run, disk: str) -> list[Host]:
        report = self._play(self._lending, PROVISION, lease, run, _of_disk(disk))
        if not rules.is_fine(report.status):
            raise ExecutorError(report.reason)
        hosts: list[Host] = report.outputs.get("hosts", [])
        store.transact(partial(host_leases.record, name=lease.name, hosts=hosts))
        return hosts

    def _play(
        self, executor: AnsibleExecutor, playbook: str, lease: HostLease, run: Run, more: Request | None = None
    ) -> Report:
        workspace = self._workspace(playbook, lease, run)
        workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
        store.let_go()  # hosts may be waited for
        request = self._request(playbook, lease, run, workspace) | (more or {})
        return executor.run(request, workspace=workspace)

    def _workspace(self, playbook: str, lease: HostLease, run: Run) -> Path:
        """Return where a playbook works: with the try that hosts are lent for, or beside it when they are returned.

        What works in the workspace of a try that has ended is a leftover, and ended: a provisioning, never a teardown.
        """
        if playbook == PROVISION:
            return requests.workspace_of(self._settings, run, lease.stage, lease.try_number) / playbook
        return folder_of(self._settings, f".{TEARDOWN}") / lease.name

    def _request(self, playbook: str, lease: HostLease, run: Run, workspace: Path) -> Request:
        folder = folder_of(self._settings, lease.name)
        limits = self._settings.stage_limits(lease.stage).model_dump()
        seconds = int(self._settings.provision.patience_seconds) + _ASIDE_SECONDS
        return {
            "stage": playbook,
            "workspace": str(workspace),
            "limits": limits | {"seconds": seconds},
            "provision_lease": lease.name,
            "provision_hosts_count": lease.hosts_count,
            "provision_arch": self._settings.arch_of(run.branch),
            "provision_dir": str(folder),
            "provision_key": str(folder / "key"),
            "provision_until": lease.until.timestamp(),
            "provision": self._settings.provision.told_to(lease.provider),
        }

    def _executor(self, provider: str) -> AnsibleExecutor:
        secrets = environment_of(self._settings, provider, os.environ)
        return AnsibleExecutor(playbooks=settings.project_folder() / "playbooks", secrets=secrets)


def where_to_return(lease: HostLease) -> str:
    """Return a sentence that says where a lease has to be returned, `""` when that can be here."""
    here = socket.gethostname()
    if lease.machine in {"", here}:
        return ""
    how = f"`ci-pipeline leases return {lease.name}` there, or with --anyway here if that machine is gone"
    return f"its hosts are on {lease.machine}, and this is {here}: {how}"


def _of_disk(disk: str) -> Request:
    # Whether a host comes up that boots what is composed is for the stage to find out: it may be the package's fault.
    return {"provision_disk": disk, "provision_await_ssh": False} if disk else {}


def folder_of(configured: Settings, name: str) -> Path:
    """Return the folder of a lease: `<state>/leases/<lease>`."""
    return configured.state / "leases" / name


def environment_of(configured: Settings, provider: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of an environment the playbooks of a provider need; of Duffy the key, wherever it is set."""
    if provider == "duffy":
        return {_DUFFYS_KEY: configured.provision.duffy.key.get_secret_value()}
    beginnings = _OF_TOOLS.get(provider, ())
    return {name: value for name, value in environment.items() if name.startswith(beginnings)} if beginnings else {}


def return_leaked(configured: Settings) -> list[tuple[str, str]]:
    """Return the hosts of leases that are nobody's any more, but for those that another machine has to return.

    Returns:
        Run id and a sentence, for each that was returned.
    """
    with store.session() as session:
        leaked = host_leases.leaked(session)
    returned = []
    for lease, run in leaked:
        if where_to_return(lease):
            continue
        try:
            Lender(configured).give_back(lease, run)
        except (ExecutorError, StageEnded) as error:
            log.warning("%s: %s", run.run_id, error)
            continue
        minutes = int((time.time() - lease.asked_at.timestamp()) / 60)
        what = f"returned lease {lease.name} of {lease.provider}, {minutes} min old: it was nobody's"
        returned.append((run.run_id, what))
    return returned
