"""Which machine lent hosts that are its own

Revision: 0016, after 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("host_lease", sa.Column("machine", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("host_lease", "machine")
