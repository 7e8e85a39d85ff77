"""One opening invoice for a tenant, which is of no period; of whose usage nothing is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

INDEX = "uq_billing_documents_opening"


def upgrade() -> None:
    op.create_index(
        INDEX,
        "billing_documents",
        ["tenant_id"],
        unique=True,
        sqlite_where=sa.text("kind = 'invoice' AND period_start_ns IS NULL"),
    )
    op.create_table(
        "usage_purges",
        sa.Column("tenant_id", sa.Text, primary_key=True),
        sa.Column("purged_ns", sa.INTEGER, nullable=False),
        sa.Column("certificate", sa.Text, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("usage_purges")
    op.drop_index(INDEX, "billing_documents")
