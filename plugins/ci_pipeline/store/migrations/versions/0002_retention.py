"""Retention: what is no longer kept

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("image", sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("run", sa.Column("pruned_at", sa.DateTime(timezone=True), nullable=True))
    # Nearly every run is pruned in the end; retention asks every hour for the few that are not.
    op.create_index("run_not_pruned", "run", ["ended_at"], postgresql_where=sa.text("pruned_at IS NULL"))


def downgrade() -> None:
    op.drop_index("run_not_pruned", table_name="run")
    op.drop_column("run", "pruned_at")
    op.drop_column("image", "removed_at")
