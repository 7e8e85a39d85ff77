"""A tenant whose fees are charged in advance has one opening invoice, which is of no period."""

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


def downgrade() -> None:
    op.drop_index(INDEX, "billing_documents")
