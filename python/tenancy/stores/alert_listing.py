"""Reads of alerts and their deliveries, and what people do with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .._text import check_page, storable, to_datetime
from ..errors import NotFound
from .alert_records import Alert, Delivery
from .alert_store import alert_of
from .change import Change
from .outbox import decode_cursor, encode_cursor
from .records import Page
from .schema import alert_deliveries, alerts

__all__ = ["acknowledge", "deliveries_of", "find", "page", "retry"]


def page(
    connection: Connection,
    *,
    rule: str | None,
    tenant_id: str | None,
    since_ns: int | None,
    until_ns: int | None,
    acknowledged: bool | None,
    limit: int,
    cursor: str | None,
) -> Page[Alert]:
    """Newest first."""
    query = sa.select(alerts).order_by(alerts.c.seq.desc()).limit(check_page(limit) + 1)
    if rule is not None:
        query = query.where(alerts.c.rule == rule)
    if tenant_id is not None:
        query = query.where(alerts.c.tenant_id == tenant_id)
    if since_ns is not None:
        query = query.where(alerts.c.time_ns >= since_ns)
    if until_ns is not None:
        query = query.where(alerts.c.time_ns < until_ns)
    if acknowledged is not None:
        empty = alerts.c.acknowledged_ns.is_(None)
        query = query.where(sa.not_(empty) if acknowledged else empty)
    if cursor is not None:
        query = query.where(alerts.c.seq < decode_cursor(cursor))
    rows = connection.execute(query).all()
    more = encode_cursor(rows[limit - 1].seq) if len(rows) > limit else None
    return Page(tuple(alert_of(row) for row in rows[:limit]), more)


def find(connection: Connection, alert_id: str) -> Alert:
    """Raises `NotFound`."""
    row = None
    if storable(alert_id):
        row = connection.execute(sa.select(alerts).where(alerts.c.id == alert_id)).one_or_none()
    if row is None:
        raise NotFound(f"no alert {alert_id!r}")
    return alert_of(row)


def deliveries_of(connection: Connection, alert_id: str) -> Sequence[Delivery]:
    table = alert_deliveries
    query = sa.select(table).where(table.c.alert_id == alert_id).order_by(table.c.seq)
    return tuple(_delivery(row) for row in connection.execute(query))


def retry(change: Change, alert: Alert) -> int:
    """Begin anew with what was not delivered; how many deliveries."""
    done = change.execute(
        sa.update(alert_deliveries)
        .where(alert_deliveries.c.alert_id == alert.id, alert_deliveries.c.status != "delivered")
        .values(status="pending", attempts=0, next_ns=change.now_ns)
    )
    if done.rowcount:
        _told(change, alert, "retried", "alert:retry")
    return int(done.rowcount)


def acknowledge(change: Change, alert: Alert) -> bool:
    """False: somebody did before."""
    done = change.execute(
        sa.update(alerts)
        .where(alerts.c.id == alert.id, alerts.c.acknowledged_ns.is_(None))
        .values(acknowledged_ns=change.now_ns, acknowledged_by=change.by)
    )
    if done.rowcount:
        _told(change, alert, "acknowledged", "alert:acknowledge")
    return bool(done.rowcount)


def _told(change: Change, alert: Alert, what: str, action: str) -> None:
    change.fact(
        f"security_alert_{what}",
        action,
        tenant=alert.tenant,
        resource="alert",
        resource_id=alert.id,
        context={"rule": alert.rule},
    )


def _delivery(row: Any) -> Delivery:
    return Delivery(
        alert=row.alert_id,
        destination=row.destination,
        status=row.status,
        attempts=row.attempts,
        next=to_datetime(row.next_ns) if row.status == "pending" else None,
        delivered=to_datetime(row.delivered_ns),
        error=row.error,
    )
