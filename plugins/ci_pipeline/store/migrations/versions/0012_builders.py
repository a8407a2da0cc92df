"""Builders: leases of their slots, and who is set aside

Revision: 0012, after 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "builder_lease",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("run_id", sa.BigInteger, sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("try_number", sa.BigInteger, nullable=False),
        sa.Column("builder", sa.Text, nullable=False),
        sa.Column("machines", sa.BigInteger, nullable=False),
        sa.Column("waits_for", sa.Text, nullable=False, server_default=""),
        sa.Column("acquired_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("released_at", _TIME),
        sa.UniqueConstraint("run_id", "stage", "try_number"),
    )
    op.create_index("builder_lease_held", "builder_lease", ["builder"], postgresql_where=sa.text("released_at IS NULL"))
    op.create_table(
        "builder_set_aside",
        sa.Column("builder", sa.Text, primary_key=True),
        sa.Column("failures", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("until", _TIME, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("builder_set_aside")
    op.drop_table("builder_lease")
