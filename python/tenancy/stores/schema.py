"""The tables of definitions and of the outbox, in SQLAlchemy Core.

`migrations` makes them; a test holds the two against each other. Times are nanoseconds since the
Unix epoch, 0 or NULL where there is none; JSON is canonical text, NULL where empty, so that most
rows stay narrow. Names are unique inside a tenant, never across principals and roles: users and
roles are columns of their own.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from . import billing_tables as billing
from .schema_base import Integer, metadata
from .schema_base import serial as _serial

__all__ = [
    "HEAD",
    "Integer",
    "alert_cursor",
    "alert_deliveries",
    "alert_hits",
    "alerts",
    "assignments",
    "billing",
    "catalogs",
    "changes",
    "drain",
    "holds",
    "keys",
    "metadata",
    "outbox",
    "resources",
    "roles",
    "schedule",
    "sessions",
    "tenants",
    "told",
    "usage_closings",
    "usage_purges",
]


HEAD = "0009"
"""Newest migration of this release."""

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
    # Whose key seals its personal fields; NULL: its principal's.
    Column("subject", Text),
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

# Legal holds on the log: of one tenant, or without one of everything.
holds = Table(
    "holds",
    metadata,
    _serial(),
    Column("id", Text, nullable=False, unique=True),
    Column("tenant_id", Text),
    Column("reason", Text, nullable=False),
    Column("placed_by", Text, nullable=False),
    Column("placed_ns", Integer, nullable=False),
    Column("released_by", Text),
    Column("released_ns", Integer),
    sqlite_autoincrement=True,
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

# What rules found. `first_ns` to `last_ns` are the times of its facts; what comes after `after_ns`
# and until `until_ns` is more of the same, counted in `more`. `detail` is JSON: the values of the
# group, ids of facts, distinct values.
alerts = Table(
    "alerts",
    metadata,
    _serial(),
    Column("id", Text, nullable=False, unique=True),
    Column("rule", Text, nullable=False),
    Column("grp", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("tenant_id", Text),
    Column("time_ns", Integer, nullable=False),
    Column("first_ns", Integer, nullable=False),
    Column("last_ns", Integer, nullable=False),
    Column("after_ns", Integer, nullable=False),
    Column("until_ns", Integer, nullable=False),
    Column("count", Integer, nullable=False),
    Column("more", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    Column("acknowledged_ns", Integer),
    Column("acknowledged_by", Text),
    Index("idx_alerts_group", "rule", "grp", "until_ns"),
    Index("idx_alerts_tenant", "tenant_id", "seq"),
    Index("idx_alerts_time", "time_ns"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# Facts that may still become part of an alert, until `keep_ns` of the log's time.
alert_hits = Table(
    "alert_hits",
    metadata,
    _serial(),
    Column("rule", Text, nullable=False),
    Column("grp", Text, nullable=False),
    Column("time_ns", Integer, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("tenant_id", Text),
    Column("value", Text, nullable=False),
    Column("keep_ns", Integer, nullable=False),
    UniqueConstraint("rule", "grp", "event_id", name="uq_alert_hits"),
    Index("idx_alert_hits_keep", "keep_ns"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# One row for each alert and destination: `pending`, `delivered` or `dead`.
alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    _serial(),
    Column("alert_id", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_ns", Integer, nullable=False),
    Column("delivered_ns", Integer),
    Column("error", Text),
    UniqueConstraint("alert_id", "destination", name="uq_alert_deliveries"),
    Index("idx_alert_deliveries_due", "status", "destination", "next_ns"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# One row: up to where the rules have read each chain of the log, with digests of the last records,
# and the newest time that they have seen. Facts before `begin_ns` are not counted.
alert_cursor = Table(
    "alert_cursor",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("log_id", Text, nullable=False),
    Column("positions", Text, nullable=False),
    Column("begin_ns", Integer, nullable=False),
    Column("newest_ns", Integer, nullable=False),
    sqlite_strict=True,
)

# Until when a tenant's usage is closed for good, because it was invoiced.
usage_closings = Table(
    "usage_closings",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("until_ns", Integer, nullable=False),
    Column("closed_ns", Integer, nullable=False),
    Column("closed_by", Text, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

# Tenants that were purged and of whose usage nothing is kept beside the log, with the certificate.
usage_purges = Table(
    "usage_purges",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("purged_ns", Integer, nullable=False),
    Column("certificate", Text, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
