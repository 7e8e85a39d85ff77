"""Alerts: what rules found, what they still count, how far they have read, what was delivered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import sqlite

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Integer = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")


def upgrade() -> None:
    _alerts()
    _hits()
    _deliveries()
    op.create_table(
        "alert_cursor",
        sa.Column("id", Integer, primary_key=True),
        sa.Column("log_id", sa.Text, nullable=False),
        sa.Column("positions", sa.Text, nullable=False),
        sa.Column("begin_ns", Integer, nullable=False),
        sa.Column("newest_ns", Integer, nullable=False),
        sqlite_strict=True,
    )


def downgrade() -> None:
    for table in ("alert_cursor", "alert_deliveries", "alert_hits", "alerts"):
        op.drop_table(table)


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("seq", Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("grp", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("tenant_id", sa.Text),
        sa.Column("time_ns", Integer, nullable=False),
        sa.Column("first_ns", Integer, nullable=False),
        sa.Column("last_ns", Integer, nullable=False),
        sa.Column("after_ns", Integer, nullable=False),
        sa.Column("until_ns", Integer, nullable=False),
        sa.Column("count", Integer, nullable=False),
        sa.Column("more", Integer, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("acknowledged_ns", Integer),
        sa.Column("acknowledged_by", sa.Text),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index("idx_alerts_group", "alerts", ["rule", "grp", "until_ns"])
    op.create_index("idx_alerts_tenant", "alerts", ["tenant_id", "seq"])
    op.create_index("idx_alerts_time", "alerts", ["time_ns"])


def _hits() -> None:
    op.create_table(
        "alert_hits",
        sa.Column("seq", Integer, primary_key=True),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("grp", sa.Text, nullable=False),
        sa.Column("time_ns", Integer, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("tenant_id", sa.Text),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("keep_ns", Integer, nullable=False),
        sa.UniqueConstraint("rule", "grp", "event_id", name="uq_alert_hits"),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index("idx_alert_hits_keep", "alert_hits", ["keep_ns"])


def _deliveries() -> None:
    op.create_table(
        "alert_deliveries",
        sa.Column("seq", Integer, primary_key=True),
        sa.Column("alert_id", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", Integer, nullable=False),
        sa.Column("next_ns", Integer, nullable=False),
        sa.Column("delivered_ns", Integer),
        sa.Column("error", sa.Text),
        sa.UniqueConstraint("alert_id", "destination", name="uq_alert_deliveries"),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index(
        "idx_alert_deliveries_due", "alert_deliveries", ["status", "destination", "next_ns"]
    )
