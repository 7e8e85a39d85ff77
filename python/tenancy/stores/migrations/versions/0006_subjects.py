"""Whose key seals the personal fields of a fact, where it is not its principal's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("subject", sa.Text))


def downgrade() -> None:
    op.drop_column("outbox", "subject")
