"""The API: an index for everything it may be asked by

Revision: 0011, after 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_INDEXES = (
    ("run_by_repo", "run", ["repo", "id"], None),
    ("run_by_status", "run", ["status", "id"], None),
    ("run_by_end", "run", ["ended_at", "id"], None),
    ("run_not_pushed", "run", ["kind", "id"], "kind <> 'push'"),
    ("stage_result_by_status", "stage_result", ["status", "id"], None),
    ("test_result_not_passed", "test_result", ["outcome", "id"], "outcome <> 'passed'"),
)


def upgrade() -> None:
    for name, table, columns, where in _INDEXES:
        op.create_index(name, table, columns, postgresql_where=sa.text(where) if where else None)


def downgrade() -> None:
    for name, table, _, _ in reversed(_INDEXES):
        op.drop_index(name, table)
