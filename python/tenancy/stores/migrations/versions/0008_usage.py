"""Until when a tenant's usage is closed for good, because it was invoiced."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "usage_closings",
        sa.Column("tenant_id", sa.Text, primary_key=True),
        sa.Column("until_ns", sa.INTEGER, nullable=False),
        sa.Column("closed_ns", sa.INTEGER, nullable=False),
        sa.Column("closed_by", sa.Text, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("usage_closings")
