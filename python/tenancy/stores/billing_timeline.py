"""What held when: facts that bills are computed from, written with the change that makes them so.

A tenant's first row, `created`, has its plan, status, anchor and time zone; `plan`, `status` and
`calendar` say what became of them. Rows are added only: a correction is a later row for the same
time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from .billing_rows import add
from .billing_tables import timeline
from .change import Change

__all__ = ["SELLER", "created", "created_many", "record", "record_many"]

SELLER = ""
"""Stands in the column of tenants for the seller."""


def record(
    change: Change, tenant_id: str, kind: str, value: Any, since_ns: int | None = None
) -> None:
    """Say what holds for a tenant from `since_ns` on, by default from now on."""
    change.execute(sa.insert(timeline).values(**_row(change, tenant_id, kind, value, since_ns)))


def record_many(change: Change, facts: Iterable[tuple[str, str, Any, int]]) -> None:
    """The same of many: tenant, kind, value, since when."""
    add(change, timeline, [_row(change, *fact) for fact in facts])


def created(change: Change, row: Mapping[str, Any]) -> None:
    """Say what a tenant begins with."""
    created_many(change, (row,))


def created_many(change: Change, rows: Iterable[Mapping[str, Any]]) -> None:
    """The same of many tenants."""
    first = [_row(change, row["id"], "created", _beginning(row), None) for row in rows]
    add(change, timeline, first)


def _beginning(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in ("anchor_ns", "plan", "status", "time_zone")}


def _row(
    change: Change, tenant_id: str, kind: str, value: Any, since_ns: int | None
) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "kind": kind,
        "since_ns": change.now_ns if since_ns is None else since_ns,
        "value": json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
        "recorded_ns": change.now_ns,
        "recorded_by": change.by,
    }
