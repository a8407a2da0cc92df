"""Storms: the lane of a run, who storms, and who waits for a lease

Revision: 0015, after 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("run", sa.Column("lane", sa.Text, nullable=False, server_default="live"))
    op.create_check_constraint("run_lane", "run", "lane IN ('live', 'storm')")
    op.create_index(
        "run_held_back",
        "run",
        ["branch", "id"],
        postgresql_where=sa.text("lane = 'storm' AND fired_at IS NULL AND status IS NULL"),
    )
    op.create_index("run_of_storm", "run", ["ended_at"], postgresql_where=sa.text("lane = 'storm'"))
    op.create_index(
        "inbound_wanted_by_agent",
        "inbound",
        ["agent", "received_at"],
        postgresql_where=sa.text("state IN ('queued', 'superseded')"),
    )
    op.create_table(
        "storm",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("began_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("calmed_at", _TIME),
    )
    op.create_index("storm_going_on", "storm", ["account"], unique=True, postgresql_where=sa.text("calmed_at IS NULL"))
    op.create_table(
        "lease_waiter",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("run_id", sa.BigInteger, sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("since", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("asked_at", _TIME, nullable=False, server_default=sa.func.now()),
    )


def downgrade() -> None:
    op.drop_table("lease_waiter")
    op.drop_table("storm")
    op.drop_index("inbound_wanted_by_agent", "inbound")
    op.drop_index("run_of_storm", "run")
    op.drop_index("run_held_back", "run")
    op.drop_constraint("run_lane", "run")
    op.drop_column("run", "lane")
