"""What the tests of reports share. `Recount` evaluates queries a second time, by SQLite."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from store_support import START
from tenancy import Tenancy
from tenancy.audit import AuditEvent
from tenancy.reports import STANDARDS, Report

DAY = timedelta(days=1)
EVERY = sorted(STANDARDS)

_CONDITION = re.compile(r"(\S+) (?:(not )?in \(([^)]*)\)|is (absent|present))")


def report(t: Tenancy, standard: str = "soc2", **options: Any) -> Report:
    return t.audit.report("acme", standard, START - DAY, START + DAY, **options)


class Recount:
    """Events in a table; `count` runs a query of a report on them."""

    def __init__(self, events: Sequence[AuditEvent]) -> None:
        self._table = sqlite3.connect(":memory:")
        self._table.execute(
            "CREATE TABLE events (tenant, time, principal, type, action, resource, resource_id,"
            " result, context)"
        )
        self._table.executemany(
            "INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?)",
            [
                (
                    e.tenant,
                    e.time.timestamp(),
                    e.principal,
                    e.type,
                    e.action,
                    e.resource,
                    e.resource_id,
                    e.result,
                    json.dumps(dict(e.context)),
                )
                for e in events
            ],
        )

    def close(self) -> None:
        self._table.close()

    def count(
        self, query: str, and_also: str | None, tenant: str, since: float, until: float
    ) -> int:
        where = self._sql(query)
        if and_also is not None:
            where = f"({where}) AND ({self._sql(and_also)})"
        (found,) = self._table.execute(
            "SELECT count(*) FROM events WHERE tenant = ? AND time >= ? AND time < ?"
            f" AND ({where})",
            (tenant, since, until),
        ).fetchone()
        return int(found)

    def _sql(self, query: str) -> str:
        sql = _CONDITION.sub(self._condition, query)
        return sql.replace(" and ", " AND ").replace(" or ", " OR ")

    @staticmethod
    def _condition(match: re.Match[str]) -> str:
        field, negated, values, presence = match.groups()
        column = field
        if field.startswith("context."):
            column = f"json_extract(context, '$.{field.removeprefix('context.')}')"
        if presence:
            return f"{column} IS {'NOT ' if presence == 'present' else ''}NULL"
        ways = [
            f"{column} GLOB '{value}'" if value.endswith("*") else f"{column} = '{value}'"
            for value in values.split(", ")
        ]
        # Absent is in no list, so it is outside of every list.
        either = f"ifnull({' OR '.join(ways)}, 0)"
        return f"NOT {either}" if negated else either
