"""A record of the log as alert rules see it: texts by field.

Not only events: what the log says about itself (`repair`, `alarm`) is a fact here as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .audit_events import LogRow, event_of_log
from .projection import EVENT

__all__ = ["OWN", "kind_of", "named_in", "text_of", "texts_of"]

OWN = "security_alert"
"""What alerts themselves leave begins so, and is never counted."""

_LOG_KINDS = {6: "log_repair", 10: "log_alarm"}
_TEXT_MAX = 512
_REASONS = ("code", "reason", "repair_reason")
_NOBODY = ("", "anonymous")
_NAMED_IN: Mapping[str, tuple[str, ...]] = {
    "source": ("key_id", "key", "principal", "ip"),
    "key": ("key_id", "key"),
    "target": ("named_tenant", "tenant"),
}


def kind_of(row: LogRow) -> str | None:
    """The type that rules know a record by; None for what no rule may count."""
    if row.kind != EVENT:
        return _LOG_KINDS.get(row.kind)
    return None if row.type is None or row.type.startswith(OWN) else row.type


def texts_of(row: LogRow) -> dict[str, str]:
    """Everything that rules can name; what is absent or empty is left out."""
    event = event_of_log(row)
    context = event.context
    key, ip = context.get("key"), context.get("ip")
    principal = None if event.principal in _NOBODY else event.principal
    found: dict[str, Any] = {
        "type": kind_of(row),
        "action": event.action,
        "result": event.result,
        "reason": next((context[name] for name in _REASONS if context.get(name)), None),
        "tenant": event.tenant,
        "principal": event.principal,
        "key": key,
        "ip": ip,
        "user_agent": context.get("user_agent"),
        "resource": event.resource,
        "resource_id": event.resource_id,
        "request_id": context.get("request_id"),
        "session_id": context.get("session_id"),
        "source": key or principal or ip,
        "target": context.get("named_tenant") or context.get("tenant") or event.tenant,
    }
    found |= {f"context.{name}": value for name, value in context.items()}
    return {name: text for name, value in found.items() if (text := text_of(value))}


def named_in(field: str) -> tuple[str, ...]:
    """The names, of fields of a fact or members of its context, that a field of rules is taken
    from: those that a catalog may list as personal."""
    return _NAMED_IN.get(field) or (field.removeprefix("context."),)


def text_of(value: Any) -> str:
    """A value as rules see it; empty for what they do not see."""
    if isinstance(value, str):
        return value[:_TEXT_MAX]
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)[:_TEXT_MAX]
    return ""
