"""Ignored pushes that are to be announced, and fewer indexes of the ledger and the outbox

Revision: 0017, after 0016
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# The older schema has no place for them: they are published first, or they would never be said.
_REFUSE = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM unannounced) THEN
        RAISE EXCEPTION 'ignored pushes are to be announced; let ci-pipeline-reconciler publish them first';
    END IF;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "unannounced",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("messages", ARRAY(sa.BigInteger), nullable=False),
        sa.Column("trigger_run_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    # What it was asked for `inbound_by_rev` answers as well.
    op.drop_index("inbound_by_change", "inbound")
    op.drop_index("inbound_by_run", "inbound")
    op.create_index("inbound_by_run", "inbound", ["run"], postgresql_where=sa.text("run IS NOT NULL"))
    op.drop_index("outbox_by_run", "outbox")
    op.create_index("outbox_by_run", "outbox", ["run_id", "sequence"], postgresql_where=sa.text("run_id IS NOT NULL"))


def downgrade() -> None:
    op.execute(_REFUSE)
    op.drop_index("outbox_by_run", "outbox")
    op.create_index("outbox_by_run", "outbox", ["run_id", "sequence"])
    op.drop_index("inbound_by_run", "inbound")
    op.create_index("inbound_by_run", "inbound", ["run"])
    op.create_index("inbound_by_change", "inbound", ["namespace", "repo", "rev", "branch"])
    op.drop_table("unannounced")
