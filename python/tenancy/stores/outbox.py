"""Audit facts as rows of the outbox, written in the transaction of what they tell about."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Connection

from .. import _core
from .._text import check_page, from_json, listed, shown, storable, to_datetime, to_json
from ..errors import InvalidValue
from .records import AuditEvent, Page
from .schema import outbox

__all__ = [
    "RESULTS",
    "append",
    "decode_cursor",
    "encode_cursor",
    "find",
    "search",
]


RESULTS = ("success", "failure", "denied")


def append(
    connection: Connection,
    *,
    now_ns: int,
    type: str,  # noqa: A002 - the field's name
    action: str,
    by: str,
    revision: int,
    tenant: str | None = None,
    resource: str | None = None,
    resource_id: str | None = None,
    result: str = "success",
    context: Mapping[str, Any] | None = None,
    event_id: str | None = None,
) -> str | None:
    """Write one fact and return its id; None when `event_id` was written before."""
    if result not in RESULTS:
        raise InvalidValue("result", f"{result!r} is none of {', '.join(RESULTS)}")
    event = event_id or _core.uuid7(now_ns)
    done = connection.execute(
        insert(outbox)
        .values(
            event_id=event,
            time_ns=now_ns,
            tenant_id=tenant,
            principal=by,
            type=type,
            action=action,
            resource=resource,
            resource_id=resource_id,
            result=result,
            context=to_json(context),
            revision=revision,
        )
        .on_conflict_do_nothing(index_elements=["event_id"])
    )
    return event if done.rowcount else None


def search(
    connection: Connection, *, filters: Mapping[str, Any], limit: int, cursor: str | None
) -> Page[AuditEvent]:
    """Newest first. `filters` maps columns to values, and `since_ns`/`until_ns` to times."""
    check_page(limit)
    result = filters.get("result")
    if result is not None and result not in RESULTS:
        raise InvalidValue("result", shown(result), remedy=f"one of {listed(RESULTS)}")
    if any(isinstance(text, str) and text and not storable(text) for text in filters.values()):
        return Page(())  # no fact holds such a text
    query = sa.select(outbox).order_by(outbox.c.seq.desc()).limit(limit + 1)
    for name, value in filters.items():
        if value is None:
            continue
        if name == "since_ns":
            query = query.where(outbox.c.time_ns >= value)
        elif name == "until_ns":
            query = query.where(outbox.c.time_ns < value)
        else:
            query = query.where(outbox.c[name] == value)
    if cursor is not None:
        query = query.where(outbox.c.seq < decode_cursor(cursor))
    rows = connection.execute(query).all()
    more = encode_cursor(rows[limit - 1].seq) if len(rows) > limit else None
    return Page(tuple(_event(row) for row in rows[:limit]), more)


def find(connection: Connection, event_id: str) -> AuditEvent | None:
    row = connection.execute(sa.select(outbox).where(outbox.c.event_id == event_id)).one_or_none()
    return None if row is None else _event(row)


def _event(row: Any) -> AuditEvent:
    time = to_datetime(row.time_ns)
    assert time is not None
    return AuditEvent(
        id=row.event_id,
        time=time,
        tenant=row.tenant_id,
        principal=row.principal,
        type=row.type,
        action=row.action,
        resource=row.resource,
        resource_id=row.resource_id,
        result=row.result,
        context=from_json(row.context),
        revision=row.revision,
    )


def encode_cursor(seq: int) -> str:
    """A page's end, opaque to callers."""
    return base64.urlsafe_b64encode(f"s{seq}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        if text[:1] != "s":
            raise ValueError
        return int(text[1:])
    except (ValueError, AttributeError, TypeError):
        raise InvalidValue(
            "cursor", "not the cursor of a page", remedy="pass the `cursor` of the page before"
        ) from None
