"""The pages: indexes for what they look up

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_INDEXES = {
    "run": (
        ("run_by_package", ["branch", "namespace", "repo", "id"], {}),
        ("run_going_on", ["id"], {"postgresql_where": sa.text("status IS NULL")}),
        ("run_by_run_id", ["run_id"], {}),
        ("run_by_rev", ["rev"], {"postgresql_ops": {"rev": "text_pattern_ops"}}),
    ),
    "inbound": (
        ("inbound_by_repo", ["repo", "id"], {}),
        ("inbound_by_run", ["run"], {}),
        ("inbound_by_message", ["message_id"], {}),
        ("inbound_by_rev", ["rev"], {"postgresql_ops": {"rev": "text_pattern_ops"}}),
    ),
    "stage_result": (
        (
            "stage_result_by_nvr",
            [sa.text("(outputs ->> 'nvr')")],
            {"postgresql_where": sa.text("(outputs ->> 'nvr') IS NOT NULL")},
        ),
        (
            "stage_result_by_spec_nvr",
            [sa.text("(outputs ->> 'original_spec_nvr')")],
            {"postgresql_where": sa.text("(outputs ->> 'original_spec_nvr') IS NOT NULL")},
        ),
    ),
    "image": (("image_newest", ["branch", "id"], {}),),
    "outbox": (
        (
            "outbox_parked",
            ["parked_at"],
            {"postgresql_where": sa.text("parked_at IS NOT NULL AND published_at IS NULL")},
        ),
        ("outbox_by_inbound", ["inbound_id"], {}),
    ),
}


def upgrade() -> None:
    for table, indexes in _INDEXES.items():
        for name, columns, options in indexes:
            op.create_index(name, table, columns, **options)


def downgrade() -> None:
    for table, indexes in _INDEXES.items():
        for name, _, _ in indexes:
            op.drop_index(name, table_name=table)
