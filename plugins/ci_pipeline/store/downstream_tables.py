"""The tables about those downstream: what sinks are to be told, what was waived, and which decisions were announced."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ci_pipeline.store.tables import Base, Run, StageResult


class Delivery(Base):
    """What one sink is to be told. `id` is deterministic, so that telling it twice is telling it once.

    `status` is that of what happened: of the try, `QUEUED`, `RUNNING`, or of the run. `at` is when it happened.
    `attempts` counts all tries, those under way too; `failures` those the sink answered with an error; `answer` is its
    last one.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        Index(
            "delivery_pending",
            "sink",
            "sequence",
            postgresql_where=text("delivered_at IS NULL AND parked_at IS NULL"),
        ),
        Index(
            "delivery_parked",
            "parked_at",
            postgresql_where=text("parked_at IS NOT NULL AND delivered_at IS NULL"),
        ),
        Index("delivery_by_run", "run_id"),
        Index("delivery_by_result", "result_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, Identity(), unique=True)
    sink: Mapped[str]
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    result_id: Mapped[int | None] = mapped_column(ForeignKey("stage_result.id", ondelete="CASCADE"))
    event: Mapped[str]
    status: Mapped[str]
    at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    next_try_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    parked_at: Mapped[datetime | None]
    answer: Mapped[str] = mapped_column(server_default="")

    run: Mapped[Run] = relationship(viewonly=True)
    result: Mapped[StageResult | None] = relationship(viewonly=True)


class Waiver(Base):
    """What someone waived: a test of a subject need not have passed. None is changed; a later one takes it back."""

    __tablename__ = "waiver"
    __table_args__ = (Index("waiver_by_subject", "subject_identifier", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    subject_type: Mapped[str]
    subject_identifier: Mapped[str]
    product_version: Mapped[str]
    testcase: Mapped[str]
    waived: Mapped[bool]
    who: Mapped[str]
    why: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Decision(Base):
    """The last decision about a subject that was announced. `answer` is all of it, `number` counts its changes."""

    __tablename__ = "decision"

    subject_type: Mapped[str] = mapped_column(primary_key=True)
    subject_identifier: Mapped[str] = mapped_column(primary_key=True)
    product_version: Mapped[str] = mapped_column(primary_key=True)
    decision_context: Mapped[str] = mapped_column(primary_key=True)
    policies_satisfied: Mapped[bool]
    summary: Mapped[str]
    answer: Mapped[dict[str, Any]]
    number: Mapped[int]
    decided_at: Mapped[datetime] = mapped_column(server_default=func.now())
