"""What lies beside an image: its manifest

Revision: 0008, after 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("image", sa.Column("manifest_sha256", sa.Text(), server_default="", nullable=False))
    op.execute("UPDATE image SET manifest_sha256 = 'stale' WHERE validated_at IS NOT NULL AND removed_at IS NULL")
    op.create_index("image_stale", "image", ["id"], postgresql_where=sa.text("manifest_sha256 = 'stale'"))


def downgrade() -> None:
    op.drop_index("image_stale", "image")
    op.drop_column("image", "manifest_sha256")
