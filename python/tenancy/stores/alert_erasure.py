"""What alerts keep of a person whose key is destroyed: nothing.

An alert has values of its facts: the group that it is about, and the different values that a rule
counted. Where those were sealed in the log they are taken out of alerts and of what rules still
count, with the key. The facts that alerts leave in the log have none of them from the beginning:
they could not be taken out there (`alert_job`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from . import alert_store
from .alert_facts import named_in, text_of
from .audit_events import EVENT_FIELDS, LogRow
from .projection import COLUMNS, Projection
from .schema import alert_hits, alerts

__all__ = ["ERASED", "Sealed", "erase_alerts", "sealed_values"]

ERASED = "erased"
"""What stands where a value was."""

Sealed = Mapping[str, Collection[str]]
"""Values that are sealed under a key, by the names of their fields."""

_PERSONAL = "personal"


def sealed_values(projection: Projection, key: str | None, subject: str) -> Sealed:
    """What the log has sealed under a key that still opens it; the subject's name in any case."""
    found: dict[str, set[str]] = {"principal": {subject}}
    if key is None or not projection.usable():
        return found
    with projection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM events WHERE subject_key = ?", (key,))  # noqa: S608
        for columns in cursor:
            for name, value in _sealed_in(LogRow(0, 0, *columns)):
                text = text_of(value)
                if text:
                    found.setdefault(name, set()).add(text)
    return found


def _sealed_in(row: LogRow) -> list[tuple[str, Any]]:
    rest: dict[str, Any] = json.loads(row.rest or "{}")
    members: list[tuple[str, Any]] = []
    for name in json.loads(row.sealed or "[]"):
        if name == _PERSONAL and isinstance(rest.get(name), str):
            members += json.loads(rest[name]).items()
        else:
            value = getattr(row, name) if name in EVENT_FIELDS else rest.get(name)
            members.append((name, value))
    return members


def erase_alerts(connection: Connection, tenant: str | None, sealed: Sealed) -> int:
    """Take these values out of the alerts of a tenant, and of those of several tenants; how many
    alerts had some. Who has read facts before and raises an alert after this reads them again. The
    caller commits."""
    connection.exec_driver_sql("PRAGMA secure_delete = ON")
    alert_store.read_again(connection)
    changed = 0
    for row in connection.execute(sa.select(alerts).where(_of(alerts.c.tenant_id, tenant))).all():
        detail = json.loads(row.detail)
        group = _without(detail["group"], sealed)
        values = _values(detail["values"], sealed)
        if group == detail["group"] and values == detail["values"]:
            continue
        changed += 1
        detail |= {"group": group, "values": values}
        connection.execute(
            sa.update(alerts)
            .where(alerts.c.id == row.id)
            .values(
                grp=alert_store.group_text(group), detail=json.dumps(detail, ensure_ascii=False)
            )
        )
    everything = {text for texts in sealed.values() for text in texts}
    for hit in connection.execute(
        sa.select(alert_hits).where(_of(alert_hits.c.tenant_id, tenant))
    ).all():
        group = json.loads(hit.grp)
        if hit.value in everything or _without(group, sealed) != group:
            connection.execute(sa.delete(alert_hits).where(alert_hits.c.seq == hit.seq))
    return changed


def _of(column: Any, tenant: str | None) -> Any:
    return column.is_(None) if tenant is None else column.is_(None) | (column == tenant)


def _without(group: Mapping[str, str], sealed: Sealed) -> dict[str, str]:
    return {
        field: ERASED if any(value in sealed.get(name, ()) for name in named_in(field)) else value
        for field, value in group.items()
    }


def _values(values: list[str], sealed: Sealed) -> list[str]:
    """The field that was counted is the rule's, which may be another by now."""
    return [ERASED if any(one in texts for texts in sealed.values()) else one for one in values]
