"""An audit fact in its three forms: row of the outbox, fields of a log record, `AuditEvent`.

The context of a fact goes into the log as the text that the store has, so that nothing of it is
rounded or renamed on the way; what people search by (`ip`, `user_agent`, `request_id`,
`session_id`) stands in fields of its own besides.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from .._text import from_json, to_datetime, to_json
from .records import AuditEvent

__all__ = [
    "CHAINS",
    "EVENT_FIELDS",
    "SEARCHABLE",
    "LogRecord",
    "LogRow",
    "OutboxRow",
    "chain_of",
    "event_of_log",
    "event_of_outbox",
    "log_id_of",
    "outbox_serial",
    "record_of",
]

CHAINS = ("security", "access", "other", "usage")
"""Retention classes, in the order of their codes (cpp/LOG_FORMAT.md, 1)."""

SEARCHABLE = ("ip", "user_agent", "request_id", "session_id")
_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NAMESPACE = uuid.UUID("0b1c29f4-6f0e-5d3c-8d3f-3d8c1b7f5a10")
_SOURCE = "outbox "
_PERSONAL = "personal"
"""The field of a record that has those members of the context that are sealed."""
NOBODY = "system"
"""A principal that is not a person: its facts are about nobody, unless they name a subject."""
_TEXT_BYTES = 1024
_SECURITY = (
    *("login", "logout", "mfa_", "session_", "key_", "credential", "password_"),
    *("permission_", "role_", "security_", "suspicious_", "cross_tenant_", "access_"),
    *("config_", "tenant_", "retention_"),
)


LogRecord = tuple[str, "str | None", int, dict[str, object], "str | None", list[str]]
"""What `_core.Log.append_many` takes: chain, tenant, time, fields, subject, names of those that are
sealed."""


class OutboxRow(NamedTuple):
    """A row of the outbox, its columns in order; or a fact that goes past it, with serial 0."""

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
    subject: str | None


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
    subject_key: str | None
    """The key that its sealed fields are sealed with; None: none is sealed."""
    sealed: str | None
    """JSON list of the names of its sealed fields, opened or not."""


EVENT_FIELDS = LogRow._fields[5:-3]
"""Columns of a row that are fields of events; others are members of `rest`."""


def chain_of(type: str) -> str:  # noqa: A002 - the field's name
    """The retention class of a type: who came in, what was refused and who may do what is kept
    longest, then access to data, then the rest."""
    if type.startswith("data_"):
        return "access"
    return "security" if type.startswith(_SECURITY) else "other"


def record_of(row: OutboxRow, personal: Collection[str]) -> LogRecord:
    """The record that keeps a row, its fields named in `personal` sealed with the key of whom it is
    about. A member of the context that is personal is kept apart from the others. A row of serial 0
    never was in the outbox."""
    log_id = log_id_of(row.event_id)
    fields: dict[str, object] = {
        "event_id": log_id,
        "type": row.type,
        "action": row.action,
        "principal": row.principal,
        "result": row.result,
        "policy_revision": row.revision,
    }
    if row.seq:
        fields["source"] = f"{_SOURCE}{row.seq}"
    if log_id != row.event_id:
        fields["id"] = row.event_id
    if row.resource is not None:
        fields["resource"] = row.resource
    if row.resource_id is not None:
        fields["resource_id"] = row.resource_id
    subject = _subject(row) if personal else None
    if row.context is not None:
        _add_context(fields, row.context, () if subject is None else personal)
    sealed = [] if subject is None else [name for name in fields if name in personal]
    if _PERSONAL in fields:
        sealed.append(_PERSONAL)
    return chain_of(row.type), row.tenant, row.time_ns, fields, subject, sealed


def _subject(row: OutboxRow) -> str | None:
    return row.subject or (None if row.principal in ("", NOBODY) else row.principal)


def _add_context(fields: dict[str, object], text: str, personal: Collection[str]) -> None:
    context = json.loads(text)
    for name in SEARCHABLE:
        value = context.get(name)
        if isinstance(value, str) and 0 < len(value.encode()) <= _TEXT_BYTES:
            fields[name] = value
    apart = {name: value for name, value in context.items() if name in personal}
    if apart:
        text = to_json({name: value for name, value in context.items() if name not in apart}) or ""
    # What has a field of its own is read from there.
    rest = {n: v for n, v in apart.items() if n not in SEARCHABLE or fields.get(n) != v}
    if rest:
        fields[_PERSONAL] = to_json(rest)
    if text:
        fields["context"] = text


def event_of_outbox(row: OutboxRow) -> AuditEvent:
    return _event(row, row.event_id, from_json(row.context), row.revision)


def event_of_log(row: LogRow) -> AuditEvent:
    rest: dict[str, Any] = json.loads(row.rest) if row.rest else {}
    here = {*rest, *(name for name in EVENT_FIELDS if getattr(row, name) is not None)}
    event_id = rest.pop("id", None) or row.event_id or ""
    context: dict[str, Any] = {}
    for name in ("context", _PERSONAL):
        stored = rest.pop(name, None)
        context.update(json.loads(stored) if isinstance(stored, str) else {})
    context = {**rest, **context}
    sealed: list[str] = json.loads(row.sealed) if row.sealed else []
    gone = [name for name in sealed if name not in here]
    more: Mapping[str, Any] = {
        "code": row.reason,
        "key": row.key_id,
        **{name: getattr(row, name) for name in SEARCHABLE},
    }
    for name, value in more.items():
        if value is not None:
            context.setdefault(name, value)
    event = _event(row, str(event_id), context, row.policy_revision or 0)
    return replace(event, erased=tuple(gone)) if gone else event


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
    """An event's id as the log has it: a UUID, in the one form in which the log gives it back."""
    return event_id if _UUID.fullmatch(event_id) else str(uuid.uuid5(_NAMESPACE, event_id))
