"""Deliveries: what downstream datahubs are to be told

Revision: 0009, after 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("sequence", sa.BigInteger(), sa.Identity(), nullable=False, unique=True),
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
        sa.Column("result_id", sa.BigInteger(), sa.ForeignKey("stage_result.id", ondelete="CASCADE")),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("created_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_try_at", _TIME),
        sa.Column("delivered_at", _TIME),
        sa.Column("parked_at", _TIME),
        sa.Column("answer", sa.Text(), server_default="", nullable=False),
    )
    waits, parked = "delivered_at IS NULL AND parked_at IS NULL", "parked_at IS NOT NULL AND delivered_at IS NULL"
    op.create_index("delivery_pending", "delivery", ["sink", "sequence"], postgresql_where=sa.text(waits))
    op.create_index("delivery_parked", "delivery", ["parked_at"], postgresql_where=sa.text(parked))
    op.create_index("delivery_by_run", "delivery", ["run_id"])
    op.create_index("delivery_by_result", "delivery", ["result_id"])


def downgrade() -> None:
    op.drop_table("delivery")
