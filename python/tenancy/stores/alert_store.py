"""Alerts in `tenancy.db`: what rules still count, what they found, how far they have read.

All functions work in the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Connection

from .._text import NS, to_datetime
from .alert_records import Alert
from .alert_rules import Rule
from .alert_windows import Hit, Quiet, Windows
from .schema import alert_cursor, alert_deliveries, alert_hits, alerts

__all__ = [
    "Cursor",
    "Loaded",
    "Place",
    "add_alert",
    "add_deliveries",
    "alert_of",
    "group_text",
    "load",
    "load_cursor",
    "prune",
    "read_again",
    "save",
    "save_cursor",
]

KEPT_NS = 400 * 86_400 * NS
"""How long alerts are listed; their facts stay in the log as long as its retention says."""

Place = tuple[int, str]
"""The next sequence of a chain, and a mark of the record before it."""


@dataclass(frozen=True)
class Cursor:
    """Up to where the rules have read the log."""

    log_id: str
    places: Mapping[str, Place]
    begin_ns: int
    """Facts that are older are not counted."""
    newest_ns: int
    """The newest time of a fact that was read."""


def load_cursor(connection: Connection) -> Cursor | None:
    row = connection.execute(sa.select(alert_cursor)).one_or_none()
    if row is None:
        return None
    places = {chain: (place[0], place[1]) for chain, place in json.loads(row.positions).items()}
    return Cursor(row.log_id, places, row.begin_ns, row.newest_ns)


def save_cursor(connection: Connection, cursor: Cursor) -> None:
    values = {
        "log_id": cursor.log_id,
        "positions": json.dumps(cursor.places),
        "begin_ns": cursor.begin_ns,
        "newest_ns": cursor.newest_ns,
    }
    connection.execute(
        insert(alert_cursor)
        .values(id=1, **values)
        .on_conflict_do_update(index_elements=["id"], set_=values)
    )


def read_again(connection: Connection) -> None:
    """Whoever has read facts and not written what they led to finds another cursor, writes nothing
    and reads them again: their texts are not what they were. Facts older than `begin_ns` are
    history, so a nanosecond of it is nobody's loss."""
    connection.execute(sa.update(alert_cursor).values(begin_ns=alert_cursor.c.begin_ns + 1))


# -------------------------------------------------------------------------------------- windows


def group_text(group: Mapping[str, str]) -> str:
    return json.dumps(group, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


@dataclass
class Loaded:
    """The windows of one group in a transaction, and what the store has of them."""

    windows: Windows
    group: str
    stored: dict[str, Hit] = field(default_factory=dict)


def load(connection: Connection, rule: Rule, group: str, oldest_ns: int) -> Loaded:
    """The windows of a group, for facts that are not older than `oldest_ns`."""
    found = connection.execute(
        sa.select(alert_hits).where(alert_hits.c.rule == rule.name, alert_hits.c.grp == group)
    )
    hits = [Hit(row.time_ns, row.event_id, row.tenant_id, row.value) for row in found]
    quiet = connection.execute(
        sa.select(alerts.c.id, alerts.c.after_ns, alerts.c.until_ns).where(
            alerts.c.rule == rule.name, alerts.c.grp == group, alerts.c.until_ns >= oldest_ns
        )
    )
    windows = Windows(rule, sorted(hits), [Quiet(*row) for row in quiet])
    return Loaded(windows, group, {hit.event_id: hit for hit in hits})


def save(connection: Connection, loaded: Loaded) -> None:
    rule, group = loaded.windows.rule, loaded.group
    kept = {hit.event_id: hit for hit in loaded.windows.hits}
    gone = [event for event in loaded.stored if event not in kept]
    if gone:
        connection.execute(
            sa.delete(alert_hits).where(
                alert_hits.c.rule == rule.name,
                alert_hits.c.grp == group,
                alert_hits.c.event_id == sa.bindparam("gone"),
            ),
            [{"gone": event} for event in gone],
        )
    new = [hit for event, hit in kept.items() if event not in loaded.stored]
    if new:
        connection.execute(sa.insert(alert_hits), [_hit_row(rule, group, hit) for hit in new])
    for quiet in loaded.windows.quiet:
        if quiet.more:
            connection.execute(
                sa.update(alerts)
                .where(alerts.c.id == quiet.alert)
                .values(more=alerts.c.more + quiet.more)
            )


def _hit_row(rule: Rule, group: str, hit: Hit) -> dict[str, Any]:
    return {
        "rule": rule.name,
        "grp": group,
        "time_ns": hit.time_ns,
        "event_id": hit.event_id,
        "tenant_id": hit.tenant,
        "value": hit.value,
        # A fact that comes up to a window late may reach back another window.
        "keep_ns": hit.time_ns + 2 * rule.within_ns,
    }


def prune(connection: Connection, newest_ns: int, now_ns: int) -> None:
    """Forget facts that no window can reach any more, and alerts of long ago."""
    connection.execute(sa.delete(alert_hits).where(alert_hits.c.keep_ns < newest_ns))
    old = sa.select(alerts.c.id).where(alerts.c.time_ns < now_ns - KEPT_NS)
    connection.execute(sa.delete(alert_deliveries).where(alert_deliveries.c.alert_id.in_(old)))
    connection.execute(sa.delete(alerts).where(alerts.c.time_ns < now_ns - KEPT_NS))


# -------------------------------------------------------------------------------------- alerts


def add_alert(
    connection: Connection, alert: Alert, times: Mapping[str, int], group: str, rule: Rule
) -> bool:
    """Store an alert. False: it is there already. `times` has `time_ns`, `first_ns`, `last_ns`."""
    detail = {
        "group": alert.group,
        "facts": list(alert.facts),
        "values": list(alert.values),
        "summary": alert.summary,
    }
    done = connection.execute(
        insert(alerts)
        .values(
            id=alert.id,
            rule=alert.rule,
            grp=group,
            severity=alert.severity,
            tenant_id=alert.tenant,
            after_ns=times["last_ns"] - rule.within_ns,
            until_ns=times["last_ns"] + rule.cooldown_ns,
            count=alert.count,
            more=0,
            detail=json.dumps(detail, ensure_ascii=False),
            **times,
        )
        .on_conflict_do_nothing(index_elements=["id"])
    )
    return bool(done.rowcount)


def add_deliveries(
    connection: Connection, alert_id: str, destinations: Iterable[str], now_ns: int
) -> None:
    rows: Sequence[dict[str, Any]] = [
        {
            "alert_id": alert_id,
            "destination": name,
            "status": "pending",
            "attempts": 0,
            "next_ns": now_ns,
        }
        for name in destinations
    ]
    if rows:
        connection.execute(insert(alert_deliveries).on_conflict_do_nothing(), rows)


def alert_of(row: Any) -> Alert:
    """An alert of its row."""
    detail = json.loads(row.detail)
    time, first, last = map(to_datetime, (row.time_ns, row.first_ns, row.last_ns))
    assert time is not None
    alert = Alert(
        id=row.id,
        rule=row.rule,
        severity=row.severity,
        tenant=row.tenant_id,
        group=detail["group"],
        time=time,
        first=first or time,
        last=last or time,
        count=row.count,
        summary=detail["summary"],
        facts=tuple(detail["facts"]),
        values=tuple(detail["values"]),
        more=row.more,
    )
    if row.acknowledged_ns is None:
        return alert
    acknowledged = to_datetime(row.acknowledged_ns)
    return replace(alert, acknowledged=acknowledged, acknowledged_by=row.acknowledged_by)
