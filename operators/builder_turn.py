"""On which machine a try of a stage is carried out: on this one, or on a builder it takes first."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ci_pipeline.builders import inventory, turns
from ci_pipeline.builders.executor import BuilderExecutor
from ci_pipeline.errors import BuilderError
from ci_pipeline.executors.ansible import AnsibleExecutor
from ci_pipeline.settings import project_folder
from ci_pipeline.store.builder_leases import Ticket

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from ci_pipeline.builders.inventory import Builder
    from ci_pipeline.executors.base import Executor
    from ci_pipeline.settings import Settings
    from ci_pipeline.stages import Stage


class BuilderTurn:
    """The machine of one try. Until it has asked, and found a builder, the try may not begin."""

    def __init__(self, settings: Settings, stage: Stage) -> None:
        """Take which stage it is."""
        self._settings, self._stage = settings, stage
        self._held: tuple[Builder, Ticket] | None = None
        self._problem = BuilderError(f"{stage.name} has not taken a builder")

    @cached_property
    def builders(self) -> list[Builder]:
        """The builders of the inventory."""
        return inventory.read(self._settings)

    def ask(self, session: Session, *, run: int, try_number: int) -> str:
        """Take a builder if the stage goes to one.

        Returns:
            What the try waits for, in a sentence; "": it may begin. When no builder can be had, whatever is waited
            for, it begins and `executor` says why.
        """
        if not turns.is_remote(self._settings, self._stage.name):
            return ""
        ticket = Ticket(run=run, stage=self._stage.name, try_number=try_number)
        try:
            turn = turns.ask(session, self._settings, self.builders, ticket)
        except BuilderError as error:
            self._problem = error
            return ""
        if turn.builder:
            self._held = turn.builder, ticket
        return turn.waits_for

    def executor(self) -> Executor:
        """Return who carries the stage out there.

        Raises:
            BuilderError: the stage goes to a builder, and there is none for it.
        """
        playbooks = project_folder() / "playbooks"
        if not turns.is_remote(self._settings, self._stage.name):
            return AnsibleExecutor(playbooks=playbooks)
        if self._held is None:
            raise self._problem
        builder, ticket = self._held
        return BuilderExecutor(playbooks=playbooks, settings=self._settings, builder=builder, ticket=ticket)
