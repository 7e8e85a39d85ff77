"""An audit fact in its three forms: row of the outbox, fields of a log record, `AuditEvent`.

The context of a fact goes into the log as the text that the store has, so that nothing of it is
rounded or renamed on the way; what people search by (`ip`, `user_agent`, `request_id`,
`session_id`) stands in fields of its own besides.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from .._text import from_json, to_datetime
from .records import AuditEvent

__all__ = [
    "CHAINS",
    "SEARCHABLE",
    "LogRow",
    "OutboxRow",
    "chain_of",
    "event_of_log",
    "event_of_outbox",
    "fields_of",
    "log_id_of",
    "outbox_serial",
]

CHAINS = ("security", "access", "other", "usage")
"""Retention classes, in the order of their codes (cpp/LOG_FORMAT.md, 1)."""

SEARCHABLE = ("ip", "user_agent", "request_id", "session_id")
_NAMESPACE = uuid.UUID("0b1c29f4-6f0e-5d3c-8d3f-3d8c1b7f5a10")
_SOURCE = "outbox "
_TEXT_BYTES = 1024
_SECURITY = (
    *("login", "logout", "mfa_", "session_", "key_", "credential", "password_"),
    *("permission_", "role_", "security_", "suspicious_", "cross_tenant_", "access_"),
    *("config_", "tenant_", "retention_"),
)


class OutboxRow(NamedTuple):
    """A row of the outbox, its columns in order."""

    seq: int
    event_id: str
    time_ns: int
    tenant: str | None
    principal: str
    type: str
    action: str
    resource: str | None
    resource_id: str | None
    result: str
    context: str | None
    revision: int


class LogRow(NamedTuple):
    """What `_core.LogReader.rows` gives of a record."""

    sequence: int
    kind: int
    time_ns: int
    tenant: str | None
    tenant_sequence: int | None
    event_id: str | None
    type: str | None
    action: str | None
    resource: str | None
    resource_id: str | None
    principal: str | None
    result: str | None
    ip: str | None
    user_agent: str | None
    request_id: str | None
    session_id: str | None
    policy_revision: int | None
    reason: str | None
    source: str | None
    key_id: str | None
    rest: str | None


def chain_of(type: str) -> str:  # noqa: A002 - the field's name
    """The retention class of a type: who came in, what was refused and who may do what is kept
    longest, then access to data, then the rest."""
    if type.startswith("data_"):
        return "access"
    return "security" if type.startswith(_SECURITY) else "other"


def fields_of(row: OutboxRow) -> dict[str, object]:
    """The fields of the record that keeps a row."""
    fields: dict[str, object] = {
        "event_id": log_id_of(row.event_id),
        "type": row.type,
        "action": row.action,
        "principal": row.principal,
        "result": row.result,
        "policy_revision": row.revision,
        "source": f"{_SOURCE}{row.seq}",
    }
    if not _is_uuid(row.event_id):
        fields["id"] = row.event_id
    if row.resource is not None:
        fields["resource"] = row.resource
    if row.resource_id is not None:
        fields["resource_id"] = row.resource_id
    if row.context is not None:
        fields["context"] = row.context
        context = json.loads(row.context)
        for name in SEARCHABLE:
            value = context.get(name)
            if isinstance(value, str) and 0 < len(value.encode()) <= _TEXT_BYTES:
                fields[name] = value
    return fields


def event_of_outbox(row: OutboxRow) -> AuditEvent:
    return _event(row, row.event_id, from_json(row.context), row.revision)


def event_of_log(row: LogRow) -> AuditEvent:
    rest: dict[str, Any] = json.loads(row.rest) if row.rest else {}
    event_id = rest.pop("id", None) or row.event_id or ""
    stored = rest.pop("context", None)
    context = {**rest, **json.loads(stored)} if isinstance(stored, str) else rest
    more: Mapping[str, Any] = {
        "code": row.reason,
        "key": row.key_id,
        **{name: getattr(row, name) for name in SEARCHABLE},
    }
    for name, value in more.items():
        if value is not None:
            context.setdefault(name, value)
    return _event(row, str(event_id), context, row.policy_revision or 0)


def _event(row: OutboxRow | LogRow, event_id: str, context: Any, revision: int) -> AuditEvent:
    time = to_datetime(row.time_ns)
    assert time is not None
    return AuditEvent(
        id=event_id,
        time=time,
        tenant=row.tenant,
        principal=row.principal or "",
        type=row.type or "",
        action=row.action or "",
        resource=row.resource,
        resource_id=row.resource_id,
        result=row.result or "",
        context=context,
        revision=revision,
    )


def outbox_serial(source: str | None) -> int:
    """The serial of the row that a record is a copy of; 0 for the engine's own."""
    if source is None or not source.startswith(_SOURCE):
        return 0
    digits = source[len(_SOURCE) :]
    return int(digits) if digits.isdecimal() else 0


def log_id_of(event_id: str) -> str:
    """An event's id as the log has it: a UUID."""
    return event_id if _is_uuid(event_id) else str(uuid.uuid5(_NAMESPACE, event_id))


def _is_uuid(text: str) -> bool:
    """In the one form in which the log gives it back."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
