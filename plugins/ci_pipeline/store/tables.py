"""The tables. docs/architecture.md lists them; the schema changes only by a migration."""

import uuid
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

STALE: Final = "stale"


class Base(DeclarativeBase):
    """Common types: text is unbounded, times carry a zone, dictionaries are JSONB."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: Text,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        int: BigInteger,
    }


class Run(Base):
    """One pipeline run: a change on a branch. `number` is the `build_id` of its messages, counting up per branch.

    `kind` says what it is for (`ci_pipeline.kind`), `lane` how it comes to its turn (`ci_pipeline.lane`). `pruned_at`
    is when retention was through with it: its files are gone, but for what is among the newest. `options` is what it
    was asked for besides its change (`generate_image`, `gating`, `conformance`, `reuse`), without the defaults.
    """

    __tablename__ = "run"
    __table_args__ = (
        UniqueConstraint("dag_id", "run_id"),
        UniqueConstraint("branch", "number"),
        CheckConstraint("kind IN ('push', 'manual', 'backfill')", name="run_kind"),
        CheckConstraint("lane IN ('live', 'storm')", name="run_lane"),
        Index("run_by_change", "namespace", "repo", "rev", "branch"),
        Index("run_not_fired", "id", postgresql_where=text("fired_at IS NULL")),
        Index("run_not_pruned", "ended_at", postgresql_where=text("pruned_at IS NULL")),
        Index("run_by_package", "branch", "namespace", "repo", "id"),
        Index("run_going_on", "id", postgresql_where=text("status IS NULL")),
        Index("run_by_run_id", "run_id"),
        Index("run_by_rev", "rev", postgresql_ops={"rev": "text_pattern_ops"}),
        Index("run_by_repo", "repo", "id"),
        Index("run_by_status", "status", "id"),
        Index("run_by_end", "ended_at", "id"),
        Index("run_not_pushed", "kind", "id", postgresql_where=text("kind <> 'push'")),
        Index(
            "run_held_back",
            "branch",
            "id",
            postgresql_where=text("lane = 'storm' AND fired_at IS NULL AND status IS NULL"),
        ),
        Index("run_of_storm", "ended_at", postgresql_where=text("lane = 'storm'")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dag_id: Mapped[str]
    run_id: Mapped[str]
    number: Mapped[int]
    namespace: Mapped[str]
    repo: Mapped[str]
    rev: Mapped[str]
    branch: Mapped[str]
    test_guidance: Mapped[str]
    kind: Mapped[str] = mapped_column(server_default="push")
    lane: Mapped[str] = mapped_column(server_default="live")
    options: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    status: Mapped[str | None]
    reason: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    fired_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    pruned_at: Mapped[datetime | None]

    results: Mapped[list["StageResult"]] = relationship(back_populates="run", order_by="StageResult.id")


class Inbound(Base):
    """The ledger: every message that arrived, what was decided and why."""

    __tablename__ = "inbound"
    __table_args__ = (
        CheckConstraint("state IN ('received', 'ignored', 'queued', 'duplicate', 'superseded', 'dead')"),
        Index(
            "inbound_one_queued",
            "namespace",
            "repo",
            "rev",
            "branch",
            unique=True,
            postgresql_where=text("state = 'queued'"),
        ),
        Index("inbound_by_state", "state", "id"),
        Index("inbound_by_repo", "repo", "id"),
        Index("inbound_by_run", "run", postgresql_where=text("run IS NOT NULL")),
        Index("inbound_by_message", "message_id"),
        Index("inbound_by_rev", "rev", postgresql_ops={"rev": "text_pattern_ops"}),
        Index(
            "inbound_wanted_by_agent",
            "agent",
            "received_at",
            postgresql_where=text("state IN ('queued', 'superseded')"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[str]
    topic: Mapped[str]
    digest: Mapped[str]
    body: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")
    namespace: Mapped[str | None]
    repo: Mapped[str | None]
    rev: Mapped[str | None]
    branch: Mapped[str | None]
    agent: Mapped[str] = mapped_column(server_default="")
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())
    run: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"))


class Revision(Base):
    """The index of known changes per branch, for backfills.

    `committed_at` is the second of the commit; its microseconds only tell changes of one second apart, so that each is
    a moment of its own on its branch: Airflow tells partitions by their date.
    """

    __tablename__ = "revision"
    __table_args__ = (Index("revision_by_time", "branch", "committed_at", unique=True),)

    namespace: Mapped[str] = mapped_column(primary_key=True)
    repo: Mapped[str] = mapped_column(primary_key=True)
    rev: Mapped[str] = mapped_column(primary_key=True)
    branch: Mapped[str] = mapped_column(primary_key=True)
    committed_at: Mapped[datetime]


class StageResult(Base):
    """One try of one stage. `status` is NULL while it runs.

    `nvr`, `original_spec_nvr` and `compose_rev` are what it was about, as its run knew them by then: "" while unknown.
    `content_key` is the digest of what its output is made of; "": that is not known, or the output is not to be reused.
    `reused_from` is the result that made its output, if it did not itself.
    """

    __tablename__ = "stage_result"
    __table_args__ = (
        UniqueConstraint("run_id", "stage", "try_number"),
        Index("stage_result_by_nvr", "nvr", "id", postgresql_where=text("nvr <> ''")),
        Index("stage_result_by_spec_nvr", "original_spec_nvr", "id", postgresql_where=text("original_spec_nvr <> ''")),
        Index("stage_result_by_compose", "compose_rev", "id", postgresql_where=text("compose_rev <> ''")),
        Index("stage_result_by_end", "ended_at", "id"),
        Index("stage_result_by_stage", "stage", "status", "id"),
        Index("stage_result_by_status", "status", "id"),
        Index("stage_result_by_key", "content_key", postgresql_where=text("content_key <> ''")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    stage: Mapped[str]
    try_number: Mapped[int]
    status: Mapped[str | None]
    reason: Mapped[str] = mapped_column(server_default="")
    fault: Mapped[str] = mapped_column(server_default="")
    nvr: Mapped[str] = mapped_column(server_default="")
    original_spec_nvr: Mapped[str] = mapped_column(server_default="")
    compose_rev: Mapped[str] = mapped_column(server_default="")
    content_key: Mapped[str] = mapped_column(server_default="")
    reused_from_id: Mapped[int | None] = mapped_column(ForeignKey("stage_result.id", ondelete="SET NULL"))
    outputs: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    tool_seconds: Mapped[float] = mapped_column(server_default=text("0"))
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]

    run: Mapped[Run] = relationship(back_populates="results")
    reused_from: Mapped["StageResult | None"] = relationship(remote_side="StageResult.id")
    tests: Mapped[list["TestResult"]] = relationship(order_by="TestResult.id")
    artifacts: Mapped[list["Artifact"]] = relationship(order_by="Artifact.id")


class TestResult(Base):
    """One test case of one try of a stage."""

    __test__ = False
    __tablename__ = "test_result"
    __table_args__ = (
        Index("test_result_by_name", "name", "id"),
        Index("test_result_not_passed", "outcome", "id", postgresql_where=text("outcome <> 'passed'")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    stage_result_id: Mapped[int] = mapped_column(ForeignKey("stage_result.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    outcome: Mapped[str]
    seconds: Mapped[float]
    message: Mapped[str]


class Artifact(Base):
    """A file a stage made. `size` in bytes; `sha256` in hex."""

    __tablename__ = "artifact"

    id: Mapped[int] = mapped_column(primary_key=True)
    stage_result_id: Mapped[int] = mapped_column(ForeignKey("stage_result.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    kind: Mapped[str]
    path: Mapped[str]
    sha256: Mapped[str]
    size: Mapped[int]


class Image(Base):
    """A generated image. `smoke_passed_at` is what the interval counts from, `removed_at` when its file went.

    `validated_at` is when it had passed all its tests. `manifest_sha256` is of the manifest beside it: "" when there is
    none, STALE when what is there, if anything, is to be written anew or to be removed.
    """

    __tablename__ = "image"
    __table_args__ = (
        Index("image_by_branch", "branch", "smoke_passed_at"),
        Index("image_newest", "branch", "id"),
        Index(
            "image_stale",
            "id",
            postgresql_where=text("manifest_sha256 = 'stale'"),
        ),
        Index("image_by_name", "name", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    branch: Mapped[str]
    name: Mapped[str]
    compose_rev: Mapped[str]
    version: Mapped[str]
    sha256: Mapped[str]
    size: Mapped[int]
    generated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    smoke_passed_at: Mapped[datetime | None]
    validated_at: Mapped[datetime | None]
    manifest_sha256: Mapped[str] = mapped_column(server_default="")
    removed_at: Mapped[datetime | None]

    @property
    def has_manifest(self) -> bool:
        """Whether its manifest is there and tells of it as it is."""
        return self.removed_at is None and self.manifest_sha256 not in {"", STALE}


class Outbox(Base):
    """What we say on the bus. `id` is deterministic, so that saying it twice is saying it once.

    `contract` is whose words it is in. `withheld`: it is true and kept, and the settings say not to publish it.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index("outbox_by_run", "run_id", "sequence", postgresql_where=text("run_id IS NOT NULL")),
        Index(
            "outbox_pending",
            "sequence",
            postgresql_where=text("published_at IS NULL AND parked_at IS NULL AND NOT withheld"),
        ),
        Index(
            "outbox_parked",
            "parked_at",
            postgresql_where=text("parked_at IS NOT NULL AND published_at IS NULL"),
        ),
        Index("outbox_by_inbound", "inbound_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, Identity(), unique=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"))
    inbound_id: Mapped[int | None] = mapped_column(ForeignKey("inbound.id", ondelete="SET NULL"))
    contract: Mapped[str] = mapped_column(server_default="ci-pipeline")
    event: Mapped[str]
    topic: Mapped[str]
    body: Mapped[dict[str, Any]]
    withheld: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    published_at: Mapped[datetime | None]
    parked_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(server_default="")

    run: Mapped[Run | None] = relationship(viewonly=True)


class Unannounced(Base):
    """Ignored pushes that are still to be announced. `messages` are their numbers in the ledger."""

    __tablename__ = "unannounced"

    id: Mapped[int] = mapped_column(primary_key=True)
    messages: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    trigger_run_id: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Lease(Base):
    """What one run at a time may have: `ci_pipeline.store.leases` has the names."""

    __tablename__ = "lease"
    __table_args__ = (Index("lease_by_run", "run_id"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    acquired_at: Mapped[datetime] = mapped_column(server_default=func.now())
