"""Billing: facts by time, price books, coupons, credits, documents, ledger. Rows only come."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import sqlite

from tenancy.errors import StoreError

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

Integer = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")

TABLES = (
    "billing_timeline",
    "billing_books",
    "billing_prices",
    "billing_coupons",
    "billing_redemptions",
    "billing_credits",
    "billing_uses",
    "billing_documents",
    "billing_usage",
    "billing_payments",
    "billing_entries",
)

# What is known of tenants from before: their plan of today, since they were made; the status of
# today since the last time that a change of it left its time.
BACKFILL = (
    """
    INSERT INTO billing_timeline (tenant_id, kind, since_ns, value, recorded_ns, recorded_by)
    SELECT id, 'created', created_ns,
           json_object('anchor_ns', anchor_ns, 'plan', plan,
                       'status', iif(status IN ('pending', 'trial'), status, 'active'),
                       'time_zone', time_zone),
           updated_ns, 'system'
      FROM tenants ORDER BY seq
    """,
    """
    INSERT INTO billing_timeline (tenant_id, kind, since_ns, value, recorded_ns, recorded_by)
    SELECT id, 'status', coalesce(deleted_ns, suspended_ns, updated_ns),
           json_object('status', status), updated_ns, 'system'
      FROM tenants WHERE status NOT IN ('pending', 'trial', 'active') ORDER BY seq
    """,
)


def upgrade() -> None:
    _facts()
    _reductions()
    _documents()
    _money()
    for table in TABLES:
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_{what.lower()} BEFORE {what} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table}: rows are added and never change'); END"
            )
    for statement in BACKFILL:
        op.execute(statement)


def downgrade() -> None:
    found = op.get_bind().execute(sa.text("SELECT count(*) FROM billing_documents")).scalar()
    if found:
        raise StoreError(
            f"{found} documents were issued, and an older release would lose them",
            remedy="keep this release, or a copy of the database",
        )
    for table in reversed(TABLES):
        op.drop_table(table)


def _table(name: str, *columns: Any) -> None:
    counted = {"sqlite_autoincrement": True} if columns[0].name == "seq" else {}
    op.create_table(name, *columns, sqlite_strict=True, **counted)


def _text(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, **{"nullable": False, **options})


def _integer(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, Integer, **{"nullable": False, **options})


def _serial() -> sa.Column[Any]:
    return sa.Column("seq", Integer, primary_key=True)


def _facts() -> None:
    _table(
        "billing_timeline",
        _serial(),
        _text("tenant_id"),
        _text("kind"),
        _integer("since_ns"),
        _text("value"),
        _integer("recorded_ns"),
        _text("recorded_by"),
    )
    op.create_index(
        "idx_billing_timeline_tenant", "billing_timeline", ["tenant_id", "since_ns", "seq"]
    )
    _table(
        "billing_books",
        _text("digest", primary_key=True),
        _text("document"),
        _integer("recorded_ns"),
    )
    _table(
        "billing_prices",
        _serial(),
        _integer("catalog_seq"),
        _text("plan"),
        _integer("since_ns"),
        _text("book", nullable=True),
        sa.UniqueConstraint("catalog_seq", "plan", name="uq_billing_prices"),
    )
    op.create_index("idx_billing_prices_plan", "billing_prices", ["plan", "since_ns"])


def _reductions() -> None:
    _table(
        "billing_coupons",
        _serial(),
        _text("id", unique=True),
        _text("code", unique=True),
        _text("value"),
        _integer("recorded_ns"),
        _text("recorded_by"),
    )
    _table(
        "billing_redemptions",
        _serial(),
        _text("id", unique=True),
        _text("tenant_id"),
        _text("coupon_id"),
        _integer("since_ns"),
        _integer("recorded_ns"),
        _text("recorded_by"),
        sa.UniqueConstraint("tenant_id", "coupon_id", name="uq_billing_redemptions"),
    )
    op.create_index("idx_billing_redemptions_coupon", "billing_redemptions", ["coupon_id"])
    _table(
        "billing_credits",
        _serial(),
        _text("id", unique=True),
        _text("tenant_id"),
        _text("currency"),
        _text("amount"),
        _integer("priority"),
        _integer("since_ns"),
        _integer("expires_ns", nullable=True),
        _text("name"),
        _text("source"),
        _integer("recorded_ns"),
        _text("recorded_by"),
    )
    op.create_index("idx_billing_credits_tenant", "billing_credits", ["tenant_id", "seq"])
    _table(
        "billing_uses",
        _serial(),
        _text("tenant_id"),
        _text("kind"),
        _text("ref"),
        _text("number"),
        _text("amount"),
    )
    op.create_index("idx_billing_uses_tenant", "billing_uses", ["tenant_id", "seq"])


def _documents() -> None:
    _table(
        "billing_documents",
        _serial(),
        _text("id", unique=True),
        _text("number", unique=True),
        _text("series"),
        _integer("ordinal"),
        _text("kind"),
        _text("tenant_id"),
        _text("about", nullable=True),
        _integer("period_start_ns", nullable=True),
        _integer("period_end_ns", nullable=True),
        _text("currency"),
        _text("total"),
        _integer("issued_ns"),
        _text("digest"),
        _text("document"),
        sa.UniqueConstraint("series", "ordinal", name="uq_billing_documents_series"),
        sa.UniqueConstraint("tenant_id", "period_start_ns", name="uq_billing_documents_period"),
    )
    op.create_index("idx_billing_documents_tenant", "billing_documents", ["tenant_id", "seq"])
    op.create_index("idx_billing_documents_about", "billing_documents", ["about"])
    _table(
        "billing_usage",
        _text("number", primary_key=True),
        _text("as_of"),
        _text("quantities"),
    )


def _money() -> None:
    _table(
        "billing_payments",
        _serial(),
        _text("id", unique=True),
        _text("tenant_id"),
        _text("number"),
        _text("currency"),
        _text("amount"),
        _text("reference", nullable=True),
        _integer("recorded_ns"),
        _text("recorded_by"),
        sa.UniqueConstraint("number", "reference", name="uq_billing_payments"),
    )
    op.create_index("idx_billing_payments_tenant", "billing_payments", ["tenant_id", "seq"])
    _table(
        "billing_entries",
        _serial(),
        _text("source"),
        _text("tenant_id"),
        _text("account"),
        _text("currency"),
        _integer("amount_minor"),
        _integer("time_ns"),
    )
    op.create_index("idx_billing_entries_tenant", "billing_entries", ["tenant_id", "seq"])
    op.create_index("idx_billing_entries_source", "billing_entries", ["source"])
