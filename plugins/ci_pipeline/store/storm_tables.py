"""The tables of storms, and of those who wait for a lease."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from ci_pipeline.store.tables import Base


class Storm(Base):
    """Very many changes of one account. `calmed_at` is NULL while it goes on.

    `account` is what the messages say; "" is of all that do not say who pushed.
    """

    __tablename__ = "storm"
    __table_args__ = (Index("storm_going_on", "account", unique=True, postgresql_where=text("calmed_at IS NULL")),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[str]
    began_at: Mapped[datetime] = mapped_column(server_default=func.now())
    calmed_at: Mapped[datetime | None]


class LeaseWaiter(Base):
    """A run that waits for a lease: since when, and when it asked last. One that asks no more waits no more."""

    __tablename__ = "lease_waiter"

    name: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    since: Mapped[datetime] = mapped_column(server_default=func.now())
    asked_at: Mapped[datetime] = mapped_column(server_default=func.now())
