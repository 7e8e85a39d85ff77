"""Audit facts as rows of the outbox, written in the transaction of what they tell about.

From there they go into the log (`drain`), which is where they are kept.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .. import _core
from .._text import to_json
from ..errors import InvalidValue
from .schema import outbox, told

__all__ = [
    "RESULTS",
    "append",
    "check_result",
    "decode_cursor",
    "encode_cursor",
    "known",
    "remember",
    "suspect",
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
    subject: str | None = None,
) -> str | None:
    """Write one fact and return its id; None when `event_id` was written before.

    `subject` is whom it is about, when that is not `by`.
    """
    check_result(result)
    if event_id is not None and known(connection, event_id):
        return None
    event = event_id or _core.uuid7(now_ns)
    connection.execute(
        sa.insert(outbox).values(
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
            subject=subject,
        )
    )
    return event


def check_result(result: str) -> None:
    if result not in RESULTS:
        raise InvalidValue("result", f"{result!r} is none of {', '.join(RESULTS)}")


def suspect(
    connection: Connection,
    *,
    now_ns: int,
    action: str,
    resource: str,
    revision: int,
    context: Mapping[str, Any],
) -> None:
    """Write that something of the data directory is not as it was left: an operator should look."""
    append(
        connection,
        now_ns=now_ns,
        by="system",
        type="suspicious_activity",
        action=action,
        resource=resource,
        result="failure",
        context=context,
        revision=revision,
    )


def known(connection: Connection, event_id: str) -> bool:
    """Whether a fact of this id was written, or remembered, before."""
    here = sa.select(outbox.c.event_id).where(outbox.c.event_id == event_id)
    left = sa.select(told.c.event_id).where(told.c.event_id == event_id)
    return connection.execute(here.union_all(left)).first() is not None


def remember(connection: Connection, event_id: str, now_ns: int) -> None:
    """Note that something was told which is not to be a fact."""
    connection.execute(sa.insert(told).values(event_id=event_id, time_ns=now_ns))


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
