"""A record of the log as alert rules see it: texts by field.

Not only events: what the log says about itself (`repair`, `alarm`) is a fact here as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .audit_events import LogRow
from .projection import EVENT

__all__ = ["OWN", "kind_of", "texts_of"]

OWN = "security_alert"
"""What alerts themselves leave begins so, and is never counted."""

_LOG_KINDS = {6: "log_repair", 10: "log_alarm"}
_TEXT_MAX = 512
_REASONS = ("code", "reason", "repair_reason")
_NOBODY = ("", "anonymous")


def kind_of(row: LogRow) -> str | None:
    """The type that rules know a record by; None for what no rule may count."""
    if row.kind != EVENT:
        return _LOG_KINDS.get(row.kind)
    return None if row.type is None or row.type.startswith(OWN) else row.type


def texts_of(row: LogRow) -> dict[str, str]:
    """Everything that rules can name; what is absent or empty is left out."""
    rest: dict[str, Any] = json.loads(row.rest) if row.rest else {}
    stored = rest.pop("context", None)
    context: Mapping[str, Any] = rest
    if isinstance(stored, str):
        inner = json.loads(stored)
        context = {**rest, **inner} if isinstance(inner, dict) else rest
    found: dict[str, Any] = {
        "type": kind_of(row),
        "action": row.action,
        "result": row.result,
        "reason": row.reason or next((context[n] for n in _REASONS if context.get(n)), None),
        "tenant": row.tenant,
        "principal": row.principal,
        "key": row.key_id or context.get("key"),
        "ip": row.ip or context.get("ip"),
        "user_agent": row.user_agent or context.get("user_agent"),
        "resource": row.resource,
        "resource_id": row.resource_id,
        "request_id": row.request_id,
        "session_id": row.session_id,
    }
    principal = None if row.principal in _NOBODY else row.principal
    found["source"] = found["key"] or principal or found["ip"]
    found["target"] = context.get("named_tenant") or context.get("tenant") or row.tenant
    found |= {f"context.{name}": value for name, value in context.items()}
    return {name: text for name, value in found.items() if (text := _text(value))}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value[:_TEXT_MAX]
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)[:_TEXT_MAX]
    return ""
