"""The tables of billing. Rows are added and never change: triggers of the migration refuse it.

Times are nanoseconds since the Unix epoch; amounts are decimal text, in the ledger whole smallest
units of their currency, so that SQL sums them exactly; values are JSON.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, Text, UniqueConstraint, text

from .schema_base import Integer, metadata, serial

__all__ = [
    "APPEND_ONLY",
    "books",
    "coupons",
    "documents",
    "entries",
    "grants",
    "payments",
    "prices",
    "redemptions",
    "timeline",
    "usage",
    "uses",
]

# What held for a tenant from `since_ns` on, by kind; tenant "" is the seller. Of two rows with one
# time the later one holds.
timeline = Table(
    "billing_timeline",
    metadata,
    serial(),
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("since_ns", Integer, nullable=False),
    Column("value", Text, nullable=False),
    Column("recorded_ns", Integer, nullable=False),
    Column("recorded_by", Text, nullable=False),
    Index("idx_billing_timeline_tenant", "tenant_id", "since_ns", "seq"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# Price books as they were when a bill first needed them, by the digest of their text.
books = Table(
    "billing_books",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("document", Text, nullable=False),
    Column("recorded_ns", Integer, nullable=False),
    sqlite_strict=True,
)

# By which book a plan is billed from `since_ns` on: one row for each catalog and plan that has one.
prices = Table(
    "billing_prices",
    metadata,
    serial(),
    Column("catalog_seq", Integer, nullable=False),
    Column("plan", Text, nullable=False),
    Column("since_ns", Integer, nullable=False),
    # NULL: the plan names no book.
    Column("book", Text),
    UniqueConstraint("catalog_seq", "plan", name="uq_billing_prices"),
    Index("idx_billing_prices_plan", "plan", "since_ns"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

coupons = Table(
    "billing_coupons",
    metadata,
    serial(),
    Column("id", Text, nullable=False, unique=True),
    Column("code", Text, nullable=False, unique=True),
    Column("value", Text, nullable=False),
    Column("recorded_ns", Integer, nullable=False),
    Column("recorded_by", Text, nullable=False),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

redemptions = Table(
    "billing_redemptions",
    metadata,
    serial(),
    Column("id", Text, nullable=False, unique=True),
    Column("tenant_id", Text, nullable=False),
    Column("coupon_id", Text, nullable=False),
    Column("since_ns", Integer, nullable=False),
    Column("recorded_ns", Integer, nullable=False),
    Column("recorded_by", Text, nullable=False),
    UniqueConstraint("tenant_id", "coupon_id", name="uq_billing_redemptions"),
    Index("idx_billing_redemptions_coupon", "coupon_id"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

grants = Table(
    "billing_credits",
    metadata,
    serial(),
    Column("id", Text, nullable=False, unique=True),
    Column("tenant_id", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("since_ns", Integer, nullable=False),
    # NULL: it does not expire.
    Column("expires_ns", Integer),
    Column("name", Text, nullable=False),
    # `granted`, `paid`, or the number of the credit note that it comes from.
    Column("source", Text, nullable=False),
    Column("recorded_ns", Integer, nullable=False),
    Column("recorded_by", Text, nullable=False),
    Index("idx_billing_credits_tenant", "tenant_id", "seq"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# What an issued bill took from a credit or a discount, and what of a credit expired with it.
uses = Table(
    "billing_uses",
    metadata,
    serial(),
    Column("tenant_id", Text, nullable=False),
    # `credit`, `expired`, `discount`, `adjustment`; `advance`: a fee that was charged in advance;
    # `returned`: a credit note gave it back to a credit.
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("amount", Text, nullable=False),
    Index("idx_billing_uses_tenant", "tenant_id", "seq"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# Invoices and credit notes. `ordinal` counts from 1 in its series, without gaps.
documents = Table(
    "billing_documents",
    metadata,
    serial(),
    Column("id", Text, nullable=False, unique=True),
    Column("number", Text, nullable=False, unique=True),
    Column("series", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    # `invoice` or `credit_note`.
    Column("kind", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    # The invoice that a credit note is about.
    Column("about", Text),
    Column("period_start_ns", Integer),
    Column("period_end_ns", Integer),
    Column("currency", Text, nullable=False),
    Column("total", Text, nullable=False),
    Column("issued_ns", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("document", Text, nullable=False),
    UniqueConstraint("series", "ordinal", name="uq_billing_documents_series"),
    # NULLs differ, so this is about invoices of periods alone.
    UniqueConstraint("tenant_id", "period_start_ns", name="uq_billing_documents_period"),
    # The opening bill has the moment at which billing begins, and no start: once for a tenant.
    Index(
        "uq_billing_documents_opening",
        "tenant_id",
        unique=True,
        sqlite_where=text("kind = 'invoice' AND period_start_ns IS NULL"),
    ),
    Index("idx_billing_documents_tenant", "tenant_id", "seq"),
    Index("idx_billing_documents_about", "about"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# From what an invoice was computed: the quantities, and up to which row of each table the facts.
usage = Table(
    "billing_usage",
    metadata,
    Column("number", Text, primary_key=True),
    Column("as_of", Text, nullable=False),
    Column("quantities", Text, nullable=False),
    sqlite_strict=True,
)

payments = Table(
    "billing_payments",
    metadata,
    serial(),
    Column("id", Text, nullable=False, unique=True),
    Column("tenant_id", Text, nullable=False),
    # The invoice that was paid, or the credit note whose refund was paid out.
    Column("number", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", Text, nullable=False),
    # The payer's, or a payment provider's: one payment counts once.
    Column("reference", Text),
    Column("recorded_ns", Integer, nullable=False),
    Column("recorded_by", Text, nullable=False),
    UniqueConstraint("number", "reference", name="uq_billing_payments"),
    Index("idx_billing_payments_tenant", "tenant_id", "seq"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# The ledger, double-entry: the entries of one source sum to zero in each currency.
entries = Table(
    "billing_entries",
    metadata,
    serial(),
    # Number of a document, id of a payment or of a credit.
    Column("source", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_minor", Integer, nullable=False),
    Column("time_ns", Integer, nullable=False),
    Index("idx_billing_entries_tenant", "tenant_id", "seq"),
    Index("idx_billing_entries_source", "source"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

APPEND_ONLY = (
    timeline,
    books,
    prices,
    coupons,
    redemptions,
    grants,
    uses,
    documents,
    usage,
    payments,
    entries,
)
"""Tables whose rows are neither changed nor deleted."""
