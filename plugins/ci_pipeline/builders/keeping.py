"""Keeping the lease of a builder while a stage is carried out there: it is renewed until the stage ends."""

import logging
import threading
from collections.abc import Callable
from typing import Self

from sqlalchemy.orm import Session

from ci_pipeline import store
from ci_pipeline.errors import BuilderError, DatabaseUnreachable
from ci_pipeline.settings import Settings
from ci_pipeline.store import builder_leases
from ci_pipeline.store.builder_leases import Ticket

log = logging.getLogger(__name__)


class Keeper:
    """Renews the lease from a thread of its own for a `with` block, and gives it back at the end."""

    def __init__(self, settings: Settings, ticket: Ticket, *, builder: str, on_loss: Callable[[], None]) -> None:
        """Take whose lease it is, of which builder, and what to do once it is another's: from the thread."""
        self._seconds = settings.builders.lease_seconds
        self._ticket, self._builder, self._on_loss = ticket, builder, on_loss
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="builder lease")
        self.lost = False

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the lease back."""
        self._ended.set()
        self._thread.join()
        try:
            with store.session() as session:
                builder_leases.release(session, self._ticket)
        except DatabaseUnreachable as error:
            log.warning("the lease of builder %s is left to expire: %s", self._builder, error)

    def ensure(self) -> None:
        """Renew the lease now.

        Raises:
            BuilderError: it is not held any more.
        """
        if self.lost or not store.transact(self._renew):
            raise self.error()

    def error(self) -> BuilderError:
        """Return the error of a lease that is not held any more."""
        msg = f"the lease of builder {self._builder} ran out during the stage (builders.lease_seconds: {self._seconds})"
        return BuilderError(f"{msg}, so what it made there does not count; was the database away?")

    def _renew(self, session: Session) -> bool:
        return builder_leases.renew(session, self._ticket, seconds=self._seconds)

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / 4):
            try:
                with store.session() as session:
                    self.lost = not self._renew(session)
            except DatabaseUnreachable as error:
                log.warning("the lease of builder %s cannot be renewed now: %s", self._builder, error)
            if self.lost:
                self._on_loss()
                return
