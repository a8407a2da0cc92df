"""Gating: waivers, and the decisions that were announced

Revision: 0010, after 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "waiver",
        sa.Column("id", sa.BigInteger(), primary_key=True),
        *_texts("subject_type", "subject_identifier", "product_version", "testcase"),
        sa.Column("waived", sa.Boolean(), nullable=False),
        *_texts("who", "why"),
        _now("created_at"),
    )
    op.create_index("waiver_by_subject", "waiver", ["subject_identifier", "id"])
    key = ("subject_type", "subject_identifier", "product_version", "decision_context")
    op.create_table(
        "decision",
        *_texts(*key),
        sa.Column("policies_satisfied", sa.Boolean(), nullable=False),
        *_texts("summary"),
        sa.Column("answer", JSONB(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        _now("decided_at"),
        sa.PrimaryKeyConstraint(*key),
    )
    op.create_index("image_by_name", "image", ["name", "id"])


def downgrade() -> None:
    op.execute("DELETE FROM outbox WHERE contract = 'gating'")
    op.drop_index("image_by_name", "image")
    op.drop_table("decision")
    op.drop_table("waiver")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _now(name: str) -> sa.Column[sa.DateTime]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)
