"""The tables of definitions and of the outbox, in SQLAlchemy Core.

`migrations` makes them; a test holds the two against each other. Times are nanoseconds since the
Unix epoch, 0 or NULL where there is none; JSON is canonical text, NULL where empty, so that most
rows stay narrow. Names are unique inside a tenant, never across principals and roles: users and
roles are columns of their own.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import sqlite

__all__ = [
    "HEAD",
    "Integer",
    "assignments",
    "catalogs",
    "changes",
    "drain",
    "keys",
    "metadata",
    "outbox",
    "resources",
    "roles",
    "schedule",
    "sessions",
    "tenants",
    "told",
]


HEAD = "0003"
"""Newest migration of this release."""

Integer = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")

metadata = MetaData()


def _serial() -> Column[int]:
    """Insertion order: the place in listings and the cursor of pages."""
    return Column("seq", Integer, primary_key=True)


tenants = Table(
    "tenants",
    metadata,
    _serial(),
    # What the engine reads, in the order of its rows.
    Column("id", Text, nullable=False, unique=True),
    Column("external_id", Text, unique=True),
    Column("slug", Text, unique=True),
    Column("status", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("time_zone", Text),
    Column("anchor_ns", Integer, nullable=False),
    Column("overrides", Text),
    # The full record.
    Column("name", Text, nullable=False),
    Column("owner", Text),
    Column("contacts", Text),
    Column("company", Text),
    Column("settings", Text),
    Column("billing", Text),
    Column("metadata", Text),
    Column("suspension_reason", Text),
    Column("status_before_deletion", Text),
    Column("legal_hold", Integer, nullable=False, server_default="0"),
    Column("created_ns", Integer, nullable=False),
    Column("updated_ns", Integer, nullable=False),
    Column("suspended_ns", Integer),
    Column("deleted_ns", Integer),
    Column("purge_after_ns", Integer),
    Index("idx_tenants_status", "status", "seq"),
    Index("idx_tenants_plan", "plan", "seq"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

keys = Table(
    "api_keys",
    metadata,
    _serial(),
    Column("id", Text, nullable=False, unique=True),
    Column("tenant_id", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("principal", Text),
    Column("scopes", Text),
    Column("expires_ns", Integer, nullable=False),
    Column("revoked_ns", Integer, nullable=False),
    Column("grace_until_ns", Integer, nullable=False),
    Column("rate_limit", Text),
    Column("name", Text, nullable=False),
    Column("rotated_to", Text),
    Column("created_ns", Integer, nullable=False),
    Column("created_by", Text, nullable=False),
    Index("idx_api_keys_tenant", "tenant_id", "seq"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

sessions = Table(
    "sessions",
    metadata,
    _serial(),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("tenant_id", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("expires_ns", Integer, nullable=False),
    Column("ref", Text, nullable=False, unique=True),
    Column("nonce", LargeBinary, nullable=False),
    Column("client_id", Text),
    Column("metadata", Text),
    Column("created_ns", Integer, nullable=False),
    Column("active_ns", Integer, nullable=False),
    Column("roles", Text),
    Index("idx_sessions_tenant", "tenant_id", "principal", "platform", "seq"),
    Index("idx_sessions_expires", "expires_ns"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

roles = Table(
    "roles",
    metadata,
    _serial(),
    # Empty: a role that every tenant has.
    Column("tenant_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("permissions", Text, nullable=False),
    Column("denies", Text, nullable=False),
    Column("inherits", Text, nullable=False),
    Column("created_ns", Integer, nullable=False),
    Column("updated_ns", Integer, nullable=False),
    UniqueConstraint("tenant_id", "name", name="uq_roles"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

assignments = Table(
    "assignments",
    metadata,
    _serial(),
    Column("tenant_id", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("role", Text, nullable=False),
    # Empty: the whole tenant.
    Column("resource", Text, nullable=False),
    Column("until_ns", Integer),
    Column("created_ns", Integer, nullable=False),
    Column("created_by", Text, nullable=False),
    UniqueConstraint("tenant_id", "principal", "role", "resource", name="uq_assignments"),
    Index("idx_assignments_role", "role", "tenant_id"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

resources = Table(
    "resources",
    metadata,
    _serial(),
    Column("tenant_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("creator", Text, nullable=False),
    Column("created_ns", Integer, nullable=False),
    UniqueConstraint("tenant_id", "type", "id", name="uq_resources"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

catalogs = Table(
    "catalogs",
    metadata,
    _serial(),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("created_ns", Integer, nullable=False),
    Column("created_by", Text, nullable=False),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# What shall happen to a tenant at a time: `change_plan` or `purge`.
schedule = Table(
    "schedule",
    metadata,
    _serial(),
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("due_ns", Integer, nullable=False),
    Column("data", Text),
    Column("created_by", Text, nullable=False),
    UniqueConstraint("tenant_id", "kind", name="uq_schedule"),
    Index("idx_schedule_due", "due_ns"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# One row per changed thing, in the order of the changes. The newest `revision` is the revision of
# the definitions. `ref` names one thing; `low` and `high` bound the serials of many.
changes = Table(
    "changes",
    metadata,
    Column("revision", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("low", Integer),
    Column("high", Integer),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# Audit facts, written with what they tell about; the drain moves them into the log.
outbox = Table(
    "outbox",
    metadata,
    _serial(),
    Column("event_id", Text, nullable=False, unique=True),
    Column("time_ns", Integer, nullable=False),
    Column("tenant_id", Text),
    Column("principal", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("resource", Text),
    Column("resource_id", Text),
    Column("result", Text, nullable=False),
    Column("context", Text),
    Column("revision", Integer, nullable=False),
    Index("idx_outbox_tenant", "tenant_id", "seq"),
    Index("idx_outbox_time", "time_ns"),
    Index("idx_outbox_type", "type", "seq"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# One row: up to which serial of the outbox everything is in the log (`drained`), and the batch that
# is under way: up to which serial (`through`), and where the chains ended before it (`positions`).
drain = Table(
    "drain",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("log_id", Text, nullable=False),
    Column("drained", Integer, nullable=False),
    Column("through", Integer, nullable=False),
    Column("positions", Text, nullable=False),
    sqlite_strict=True,
)

# Events whose ids are made from what they tell, so that they are written once: the ids that have
# left the outbox.
told = Table(
    "told",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("time_ns", Integer, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
