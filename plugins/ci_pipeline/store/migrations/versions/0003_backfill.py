"""Backfill: what a run is for, and a moment of its own for every revision

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("kind", sa.Text(), server_default="push", nullable=False))
    op.create_check_constraint("run_kind", "run", "kind IN ('push', 'manual', 'backfill')")
    # So far a run that no message led to was started by hand.
    op.execute("UPDATE run SET kind = 'manual' WHERE NOT EXISTS (SELECT FROM inbound WHERE inbound.run = run.id)")
    op.execute(
        "UPDATE revision SET committed_at = moment.at FROM ("
        " SELECT ctid AS row, date_trunc('second', committed_at) + interval '1 microsecond' * (row_number() OVER ("
        "  PARTITION BY branch, date_trunc('second', committed_at) ORDER BY namespace, repo, rev) - 1) AS at"
        " FROM revision) AS moment WHERE revision.ctid = moment.row"
    )
    op.drop_index("revision_by_time", table_name="revision")
    op.create_index("revision_by_time", "revision", ["branch", "committed_at"], unique=True)


def downgrade() -> None:
    op.drop_index("revision_by_time", table_name="revision")
    op.create_index("revision_by_time", "revision", ["branch", "committed_at"], unique=False)
    op.drop_constraint("run_kind", "run", type_="check")
    op.drop_column("run", "kind")
