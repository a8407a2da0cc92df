"""The datahub: what a result was about, and in whose words a message is

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ABOUT = ("nvr", "original_spec_nvr", "compose_rev")
_PENDING = "published_at IS NULL AND parked_at IS NULL"


def upgrade() -> None:
    _say_what_results_are_about()
    op.create_index("test_result_by_name", "test_result", ["name", "id"])
    op.add_column("outbox", sa.Column("contract", sa.Text(), server_default="ci-pipeline", nullable=False))
    op.add_column("outbox", sa.Column("withheld", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.drop_index("outbox_pending", "outbox")
    op.create_index("outbox_pending", "outbox", ["sequence"], postgresql_where=sa.text(f"{_PENDING} AND NOT withheld"))


def downgrade() -> None:
    op.drop_index("outbox_pending", "outbox")
    op.execute("DELETE FROM outbox WHERE contract <> 'ci-pipeline'")
    op.drop_column("outbox", "withheld")
    op.drop_column("outbox", "contract")
    op.create_index("outbox_pending", "outbox", ["sequence"], postgresql_where=sa.text(_PENDING))
    op.drop_index("test_result_by_name", "test_result")
    for index in ("by_nvr", "by_spec_nvr", "by_compose", "by_end", "by_stage"):
        op.drop_index(f"stage_result_{index}", "stage_result")
    for column in _ABOUT:
        op.drop_column("stage_result", column)
    for name, output in (("nvr", "nvr"), ("spec_nvr", "original_spec_nvr")):
        op.create_index(
            f"stage_result_by_{name}",
            "stage_result",
            [sa.text(f"(outputs ->> '{output}')")],
            postgresql_where=sa.text(f"(outputs ->> '{output}') IS NOT NULL"),
        )


def _say_what_results_are_about() -> None:
    for column in _ABOUT:
        op.add_column("stage_result", sa.Column(column, sa.Text(), server_default="", nullable=False))
        # What a try was about is what the newest try before it, or itself, has made known.
        op.execute(
            f"UPDATE stage_result AS one SET {column} = coalesce((SELECT outputs ->> '{column}' FROM stage_result"  # noqa: S608
            f" WHERE run_id = one.run_id AND id <= one.id AND outputs ? '{column}' ORDER BY id DESC LIMIT 1), '')"
        )
    op.drop_index("stage_result_by_nvr", "stage_result")
    op.drop_index("stage_result_by_spec_nvr", "stage_result")
    for name, column in (("nvr", "nvr"), ("spec_nvr", "original_spec_nvr"), ("compose", "compose_rev")):
        op.create_index(
            f"stage_result_by_{name}",
            "stage_result",
            [column, "id"],
            postgresql_where=sa.text(f"{column} <> ''"),
        )
    op.create_index("stage_result_by_end", "stage_result", ["ended_at", "id"])
    op.create_index("stage_result_by_stage", "stage_result", ["stage", "status", "id"])
