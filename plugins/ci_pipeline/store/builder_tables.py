"""The tables about builders: which try is, or was, carried out where, and who is left alone for a while."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from ci_pipeline.store.tables import Base


class BuilderLease(Base):
    """A try of a stage has a slot of a builder, and room there for its virtual machines, `machines` of them.

    It holds until it is released, or expires because whoever holds it gives no sign of life. The row stays: it tells
    where a try was carried out. Of a try that has none yet `builder` is "", and `waits_for` says why: it has waited
    since `acquired_at`, and waits no more after `expires_at` unless it asks again.
    """

    __tablename__ = "builder_lease"
    __table_args__ = (
        UniqueConstraint("run_id", "stage", "try_number"),
        Index("builder_lease_held", "builder", postgresql_where=text("released_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    stage: Mapped[str]
    try_number: Mapped[int]
    builder: Mapped[str]
    machines: Mapped[int]
    waits_for: Mapped[str] = mapped_column(server_default="")
    acquired_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    released_at: Mapped[datetime | None]


class SetAside(Base):
    """A builder that could not be reached: `failures` times in a row, for `reason`; it is left alone `until` then."""

    __tablename__ = "builder_set_aside"

    builder: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    reason: Mapped[str]
    since: Mapped[datetime]
    until: Mapped[datetime]
