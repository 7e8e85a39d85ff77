"""Which of a tenant's billing periods still take usage events.

A period is open until it ends, then in grace, then closed. Whoever invoices closes it earlier. A
period that has been closed stays so; what is closed ends where something not closed begins.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from .._text import NS, to_datetime
from ..errors import InvalidValue
from .host import Host
from .periods import billing_anchor_ns, billing_unit, period_bounds_ns
from .schema import usage_closings

__all__ = ["Calendar", "TenantPeriods"]

_CACHED_MAX = 100_000
_COLUMNS = (
    "time_zone, anchor_ns, coalesce(until_ns, 0), plan FROM tenants"
    " LEFT JOIN usage_closings ON tenant_id = id"
)


class TenantPeriods(NamedTuple):
    """What the periods of a tenant go by."""

    time_zone: str | None
    anchor_ns: int
    closed_until_ns: int
    """Everything before was invoiced."""
    unit: str = "month"
    """By what the tenant is billed."""

    def at(self, time_ns: int) -> tuple[int, int]:
        """The billing period that holds a time."""
        return period_bounds_ns(time_ns, self.anchor_ns, self.time_zone, self.unit)

    def month_at(self, time_ns: int) -> tuple[int, int]:
        """The tenant's month that holds a time, whatever it is billed by."""
        return period_bounds_ns(time_ns, self.anchor_ns, self.time_zone)


class _Known(NamedTuple):
    """What was read of one revision of the definitions."""

    revision: int
    periods: dict[str, TenantPeriods]
    open: dict[str, tuple[int, int, int]]
    """From when, until when: from which time on events are taken."""


class Calendar:
    """The periods of all tenants. Any thread; read again when the definitions have changed."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known = _Known(-1, {}, {})

    def of(self, tenant_id: str) -> TenantPeriods:
        return self._periods(self._newest(), tenant_id)

    def open_from_ns(self, tenant_id: str, now_ns: int) -> int:
        """Events before this time come too late."""
        known = self._newest()
        since, until, start = known.open.get(tenant_id, (0, 0, 0))
        if not since <= now_ns < until:
            periods = self._periods(known, tenant_id)
            grace_ns = self.grace_ns
            begin, end = periods.at(now_ns - grace_ns)
            start = max(begin, periods.closed_until_ns)
            known.open[tenant_id] = (now_ns, end + grace_ns, start)
        return start

    def learn(self, tenant_ids: Sequence[str]) -> None:
        """Read what `open_from_ns` needs of many tenants at once."""
        periods = self._newest().periods
        missing = [one for one in tenant_ids if one not in periods]
        if not missing:
            return
        with self._host.cursor() as cursor:
            rows = cursor.execute(
                f"SELECT id, {_COLUMNS} WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608
                (json.dumps(missing),),
            )
            periods.update({row[0]: self._made(*row[1:]) for row in rows})

    def _newest(self) -> _Known:
        revision = self._host.current().revision
        known = self._known
        if known.revision != revision or len(known.periods) > _CACHED_MAX:
            # Another thread may still fill the one before; nobody reads that again.
            self._known = known = _Known(revision, {}, {})
        return known

    def _periods(self, known: _Known, tenant_id: str) -> TenantPeriods:
        found = known.periods.get(tenant_id)
        if found is None:
            found = known.periods[tenant_id] = self._read(tenant_id)
        return found

    def close(self, tenant_id: str, until_ns: int, by: str | None) -> int:
        """Close what is before `until_ns`; returns until when everything is closed now."""
        with self._host.write(by) as change:
            if until_ns > change.now_ns:
                raise InvalidValue(
                    "until",
                    f"{to_datetime(until_ns)} is still to come",
                    remedy="close what has ended",
                )
            before = change.execute(
                sa.select(usage_closings.c.until_ns).where(usage_closings.c.tenant_id == tenant_id)
            ).scalar_one_or_none()
            if before is not None and before >= until_ns:
                return int(before)
            values = {"until_ns": until_ns, "closed_ns": change.now_ns, "closed_by": change.by}
            if before is None:
                change.execute(sa.insert(usage_closings).values(tenant_id=tenant_id, **values))
            else:
                where = usage_closings.c.tenant_id == tenant_id
                change.execute(sa.update(usage_closings).where(where).values(**values))
            change.touched("tenant", tenant_id)
            change.fact(
                "config_changed",
                "usage:close",
                tenant=tenant_id,
                resource="usage",
                context={"until": _text(until_ns)},
            )
        return until_ns

    @property
    def grace_ns(self) -> int:
        return int(self._host.catalog.metering.grace * NS)

    def _read(self, tenant_id: str) -> TenantPeriods:
        with self._host.cursor() as cursor:
            query = f"SELECT {_COLUMNS} WHERE id = ?"
            row = cursor.execute(query, (tenant_id,)).fetchone()
        return self._made(*row)

    def _made(
        self, time_zone: str | None, anchor_ns: int, closed_until_ns: int, plan: str
    ) -> TenantPeriods:
        catalog = self._host.catalog
        anchor_ns = billing_anchor_ns(catalog, anchor_ns)
        return TenantPeriods(time_zone, anchor_ns, closed_until_ns, billing_unit(catalog, plan))


def _text(time_ns: int) -> str:
    moment = to_datetime(time_ns)
    assert isinstance(moment, datetime)
    return moment.isoformat()
