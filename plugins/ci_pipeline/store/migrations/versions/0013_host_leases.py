"""Leases of test hosts

Revision: 0013, after 0012
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "host_lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("run_id", sa.BigInteger, sa.ForeignKey("run.id"), nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("try_number", sa.BigInteger, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("hosts_count", sa.BigInteger, nullable=False),
        sa.Column("hosts", JSONB, nullable=False, server_default="[]"),
        sa.Column("asked_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("until", _TIME, nullable=False),
        sa.Column("returned_at", _TIME),
        sa.Column("trouble", sa.Text, nullable=False, server_default=""),
    )
    op.create_index("host_lease_lent", "host_lease", ["asked_at"], postgresql_where=sa.text("returned_at IS NULL"))


def downgrade() -> None:
    op.drop_table("host_lease")
