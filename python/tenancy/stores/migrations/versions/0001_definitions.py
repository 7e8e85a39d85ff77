"""The first tables: definitions, their changes, the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import sqlite

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Integer = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")


def _create(name: str, *parts: sa.schema.SchemaItem) -> None:
    op.create_table(name, *parts, sqlite_autoincrement=True, sqlite_strict=True)


def _create_principals() -> None:
    _create(
        "tenants",
        sa.Column("seq", Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("external_id", sa.Text, unique=True),
        sa.Column("slug", sa.Text, unique=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("time_zone", sa.Text),
        sa.Column("anchor_ns", Integer, nullable=False),
        sa.Column("overrides", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("contacts", sa.Text),
        sa.Column("company", sa.Text),
        sa.Column("settings", sa.Text),
        sa.Column("billing", sa.Text),
        sa.Column("metadata", sa.Text),
        sa.Column("suspension_reason", sa.Text),
        sa.Column("status_before_deletion", sa.Text),
        sa.Column("legal_hold", Integer, nullable=False, server_default="0"),
        sa.Column("created_ns", Integer, nullable=False),
        sa.Column("updated_ns", Integer, nullable=False),
        sa.Column("suspended_ns", Integer),
        sa.Column("deleted_ns", Integer),
        sa.Column("purge_after_ns", Integer),
    )
    op.create_index("idx_tenants_plan", "tenants", ["plan", "seq"])
    op.create_index("idx_tenants_status", "tenants", ["status", "seq"])
    _create(
        "api_keys",
        sa.Column("seq", Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("principal", sa.Text),
        sa.Column("scopes", sa.Text),
        sa.Column("expires_ns", Integer, nullable=False),
        sa.Column("revoked_ns", Integer, nullable=False),
        sa.Column("grace_until_ns", Integer, nullable=False),
        sa.Column("rate_limit", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("rotated_to", sa.Text),
        sa.Column("created_ns", Integer, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
    )
    op.create_index("idx_api_keys_tenant", "api_keys", ["tenant_id", "seq"])
    _create(
        "sessions",
        sa.Column("seq", Integer, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("expires_ns", Integer, nullable=False),
        sa.Column("ref", sa.Text, nullable=False, unique=True),
        sa.Column("nonce", sa.LargeBinary, nullable=False),
        sa.Column("client_id", sa.Text),
        sa.Column("metadata", sa.Text),
        sa.Column("created_ns", Integer, nullable=False),
        sa.Column("active_ns", Integer, nullable=False),
    )
    op.create_index("idx_sessions_expires", "sessions", ["expires_ns"])
    op.create_index(
        "idx_sessions_tenant", "sessions", ["tenant_id", "principal", "platform", "seq"]
    )


def _create_access() -> None:
    _create(
        "roles",
        sa.Column("seq", Integer, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("permissions", sa.Text, nullable=False),
        sa.Column("denies", sa.Text, nullable=False),
        sa.Column("inherits", sa.Text, nullable=False),
        sa.Column("created_ns", Integer, nullable=False),
        sa.Column("updated_ns", Integer, nullable=False),
        sa.UniqueConstraint("tenant_id", "name", name="uq_roles"),
    )
    _create(
        "assignments",
        sa.Column("seq", Integer, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("until_ns", Integer),
        sa.Column("created_ns", Integer, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.UniqueConstraint("tenant_id", "principal", "role", "resource", name="uq_assignments"),
    )
    op.create_index("idx_assignments_role", "assignments", ["role", "tenant_id"])
    _create(
        "resources",
        sa.Column("seq", Integer, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("created_ns", Integer, nullable=False),
        sa.UniqueConstraint("tenant_id", "type", "id", name="uq_resources"),
    )


def _create_history() -> None:
    _create(
        "catalogs",
        sa.Column("seq", Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("created_ns", Integer, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
    )
    _create(
        "schedule",
        sa.Column("seq", Integer, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("due_ns", Integer, nullable=False),
        sa.Column("data", sa.Text),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.UniqueConstraint("tenant_id", "kind", name="uq_schedule"),
    )
    op.create_index("idx_schedule_due", "schedule", ["due_ns"])
    _create(
        "changes",
        sa.Column("revision", Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("ref", sa.Text, nullable=False),
        sa.Column("low", Integer),
        sa.Column("high", Integer),
    )
    _create(
        "outbox",
        sa.Column("seq", Integer, primary_key=True),
        sa.Column("event_id", sa.Text, nullable=False, unique=True),
        sa.Column("time_ns", Integer, nullable=False),
        sa.Column("tenant_id", sa.Text),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("resource", sa.Text),
        sa.Column("resource_id", sa.Text),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("context", sa.Text),
        sa.Column("revision", Integer, nullable=False),
    )
    op.create_index("idx_outbox_tenant", "outbox", ["tenant_id", "seq"])
    op.create_index("idx_outbox_time", "outbox", ["time_ns"])
    op.create_index("idx_outbox_type", "outbox", ["type", "seq"])


def upgrade() -> None:
    _create_principals()
    _create_access()
    _create_history()


def downgrade() -> None:
    for name in (
        "outbox",
        "changes",
        "schedule",
        "catalogs",
        "resources",
        "assignments",
        "roles",
        "sessions",
        "api_keys",
        "tenants",
    ):
        op.drop_table(name)
