"""Carries a stage out on a builder: what it reads goes there, its playbook runs there, what it made comes back."""

import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ci_pipeline import store
from ci_pipeline.builders.connection import Connection, lost
from ci_pipeline.builders.fetching import Fetch
from ci_pipeline.builders.inventory import Builder
from ci_pipeline.builders.keeping import Keeper
from ci_pipeline.builders.place import Place
from ci_pipeline.builders.sending import Sending
from ci_pipeline.errors import BuilderError, BuilderUnreachable, DatabaseUnreachable, StageEnded
from ci_pipeline.executors.ansible import AnsibleExecutor
from ci_pipeline.executors.base import Request
from ci_pipeline.executors.output import Output
from ci_pipeline.executors.report import Report
from ci_pipeline.settings import Settings
from ci_pipeline.store import builder_leases
from ci_pipeline.store.builder_leases import Ticket

log = logging.getLogger(__name__)


class BuilderExecutor(AnsibleExecutor):
    """The playbook runs on the builder whose lease a try holds, over one connection; the lease ends with it."""

    def __init__(self, *, playbooks: Path, settings: Settings, builder: Builder, ticket: Ticket) -> None:
        """Take the playbooks, where the inventory is, the builder, and the try that holds it."""
        super().__init__(playbooks=playbooks, inventory=settings.builders.inventory)
        self._settings, self._builder, self._ticket = settings, builder, ticket
        self._connection = Connection(builder)
        self._keeper = Keeper(settings, ticket, builder=builder.name, on_loss=self.cancel)

    def run(self, request: Request, *, workspace: Path) -> Report:
        """Carry the stage out there. See `Executor.run`; a builder that is lost is set aside, too.

        Raises:
            BuilderUnreachable: the builder cannot be reached, or was lost.
            BuilderError: what it made cannot be taken, or it was another's meanwhile.
        """
        log.info("on builder %s (%s)", self._builder.name, self._builder.host)
        with self._keeper, self._set_aside_if_lost():
            try:
                report = super().run(request, workspace=workspace)
            except StageEnded as error:
                if self._keeper.lost:
                    raise self._keeper.error() from error
                raise
        return report

    def _play(self, request: Request, workspace: Path, output: Output) -> str:
        """Bring there, run the playbook, bring back."""
        place = Place(self._builder, request)
        with self._connection as connection:
            sending = Sending(connection, place, request)
            sending.send()
            there = {**place.there(request), "builder_name": self._builder.name}
            status = super()._play(there, workspace, output)
            if status in {"canceled", "timeout"}:
                return status
            if output.unreachable or not connection.is_open():
                raise lost(self._builder.name, output.unreachable or "its connection broke off")
            Fetch(connection, place, request, workspace).fetch(self._keeper.ensure)
            self._tidy_up(sending)
        return status

    def _tidy_up(self, sending: Sending) -> None:
        try:
            sending.tidy_up()
        except BuilderError as error:
            log.warning("%s; what the stage left there is removed later", error)

    def _environment(self) -> dict[str, str]:
        arguments = {"ANSIBLE_SSH_ARGS": shlex.join(self._connection.options)}
        return super()._environment() | arguments

    @contextmanager
    def _set_aside_if_lost(self) -> Iterator[None]:
        name = self._builder.name
        try:
            yield
        except BuilderUnreachable as error:
            seconds = self._settings.builders.set_aside_seconds
            until = store.transact(partial(builder_leases.set_aside, builder=name, reason=str(error), seconds=seconds))
            raise BuilderUnreachable(f"{error}; it is left alone until {until:%H:%M:%S} UTC") from error
        try:
            store.transact(partial(builder_leases.reached, builder=name))
        except DatabaseUnreachable as error:
            log.warning("builder %s counts as set aside still: %s", name, error)
