"""Texts of events on a page that people trust.

Names and contexts come from callers. What cannot be seen could make a row say something else than
what was written: a mark that turns the reading direction, a line break, a blank that is none. Pages
show such characters by number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ..stores.records import AuditEvent

__all__ = ["compact", "counted", "cut", "target", "utc"]


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def counted(events: int) -> str:
    return f"{events:,} event{'' if events == 1 else 's'}"


def utc(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


def target(event: AuditEvent) -> str:
    """What an event was about: `role/admin`."""
    return "/".join(part for part in (event.resource, event.resource_id) if part)


def compact(context: Mapping[str, Any]) -> str:
    return json.dumps(context, ensure_ascii=False, sort_keys=True) if context else ""
