"""The table of hosts that a provider has lent."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ci_pipeline.store.tables import Base


class HostLease(Base):
    """Hosts that are lent to a try of a stage, from before the provider is asked until they are returned.

    `hosts` is what the provider lent, as hosts.json has it; `trouble` why they could not be returned so far. `machine`
    is the name of the one whose own they are, which alone can return them; `""`: any of the pipeline's can.
    """

    __tablename__ = "host_lease"
    __table_args__ = (Index("host_lease_lent", "asked_at", postgresql_where=text("returned_at IS NULL")),)

    name: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    stage: Mapped[str]
    try_number: Mapped[int]
    provider: Mapped[str]
    machine: Mapped[str] = mapped_column(server_default="")
    hosts_count: Mapped[int]
    hosts: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default="[]")
    asked_at: Mapped[datetime] = mapped_column(server_default=func.now())
    until: Mapped[datetime]
    returned_at: Mapped[datetime | None]
    trouble: Mapped[str] = mapped_column(server_default="")
