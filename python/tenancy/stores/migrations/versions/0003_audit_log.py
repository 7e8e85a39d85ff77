"""How far the outbox has gone into the log, and which events were told once and for all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import sqlite

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Integer = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "drain",
        sa.Column("id", Integer, primary_key=True),
        sa.Column("log_id", sa.Text, nullable=False),
        sa.Column("drained", Integer, nullable=False),
        sa.Column("through", Integer, nullable=False),
        sa.Column("positions", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "told",
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("time_ns", Integer, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("told")
    op.drop_table("drain")
