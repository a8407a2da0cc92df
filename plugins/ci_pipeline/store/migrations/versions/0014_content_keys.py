"""Content keys of stages

Revision: 0014, after 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stage_result", sa.Column("content_key", sa.Text, nullable=False, server_default=""))
    made_by = sa.ForeignKey("stage_result.id", ondelete="SET NULL")
    op.add_column("stage_result", sa.Column("reused_from_id", sa.BigInteger, made_by))
    with_key = sa.text("content_key <> ''")
    op.create_index("stage_result_by_key", "stage_result", ["content_key"], postgresql_where=with_key)


def downgrade() -> None:
    op.drop_index("stage_result_by_key", "stage_result")
    op.drop_column("stage_result", "reused_from_id")
    op.drop_column("stage_result", "content_key")
