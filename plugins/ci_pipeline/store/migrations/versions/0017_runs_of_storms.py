"""Runs of a storm are found among all others

Revision: 0017, after 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("run_not_live", "run", ["lane", "id"], postgresql_where=sa.text("lane <> 'live'"))


def downgrade() -> None:
    op.drop_index("run_not_live", "run")
