"""Leases of clusters beside those of composes

Revision: 0006, after 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.rename_table("compose_lease", "lease")
    op.alter_column("lease", "branch", new_column_name="name")
    op.execute("ALTER INDEX compose_lease_pkey RENAME TO lease_pkey")
    op.execute("ALTER TABLE lease RENAME CONSTRAINT compose_lease_run_id_fkey TO lease_run_id_fkey")
    op.execute("UPDATE lease SET name = 'compose ' || name")
    op.create_index("lease_by_run", "lease", ["run_id"])


def downgrade() -> None:
    op.drop_index("lease_by_run", "lease")
    op.execute("DELETE FROM lease WHERE name NOT LIKE 'compose %'")
    op.execute("UPDATE lease SET name = substr(name, length('compose ') + 1)")
    op.execute("ALTER TABLE lease RENAME CONSTRAINT lease_run_id_fkey TO compose_lease_run_id_fkey")
    op.execute("ALTER INDEX lease_pkey RENAME TO compose_lease_pkey")
    op.alter_column("lease", "name", new_column_name="branch")
    op.rename_table("lease", "compose_lease")
