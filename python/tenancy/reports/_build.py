"""From facts to a report: one pass over the tenant's events of the range."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

from .._text import shown, to_datetime, to_ns
from ..audit import Audit
from ..errors import InvalidValue
from ..stores.host import Host
from ..stores.records import AuditEvent, Tenant
from ..tenants import Tenants
from ._controls import Control, Standard
from ._report import Outcome, Report, Source
from ._state import NOT_CONFIGURED, Chain, Retention, check, retention_of

__all__ = ["ROWS_MOST", "build", "check_range", "check_rows"]

ROWS_MOST = 1000
_PAGE = 1000

_NOT_INCLUDED = (
    "Events of the host that name no tenant: changes of the catalog and of shared roles, tenants "
    "and keys that were made in bulk, what operators looked at across tenants. "
    "`tenancy audit search` finds them."
)


def check_range(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """Both ends in UTC, or an error: they have a time zone, and `since` is the earlier."""
    for field, moment in (("since", since), ("until", until)):
        if not isinstance(moment, datetime):
            raise InvalidValue(field, f"expected a datetime, got {type(moment).__name__}")
        to_ns(moment, field)
    start, end = since.astimezone(timezone.utc), until.astimezone(timezone.utc)
    if start >= end:
        raise InvalidValue(
            "until", f"{_utc(end)} is not after since, {_utc(start)}", remedy="since < until"
        )
    return start, end


def check_rows(rows: int) -> int:
    if isinstance(rows, bool) or not isinstance(rows, int) or not 0 <= rows <= ROWS_MOST:
        raise InvalidValue("rows", f"{shown(rows)}, expected 0 to {ROWS_MOST}")
    return rows


def build(
    host: Host,
    audit: Audit,
    standard: Standard,
    tenant: Tenant,
    since: datetime,
    until: datetime,
    *,
    rows: int,
    version: str,
    chain: Callable[[], Chain],
) -> Report:
    """The arguments were checked. Counts are of all events, rows the newest of them.

    `chain` is asked when all events are read, so that it speaks of them."""
    tallies = [_Tally(control, rows) for control in standard.controls]
    collecting = [tally for tally in tallies if tally.control.population is not None]
    events = 0
    for event in _events(audit, tenant, since, until):
        events += 1
        for tally in collecting:
            tally.take(event)
    verified = chain()
    days = Tenants(host).effective(tenant).retention_days
    retention = retention_of(
        tenant, host.catalog.audit, audit.holds.list(), days.value, str(days.origin)
    )
    generated = to_datetime(host.clock.wall_ns())
    assert generated is not None
    return Report(
        standard=standard.key,
        title=standard.title,
        version=standard.version,
        note=standard.note,
        tenant={name: getattr(tenant, name) for name in ("id", "slug", "name", "plan", "status")},
        since=since,
        until=until,
        generated=generated,
        range_over=until <= generated,
        scope=f"tenant = {tenant.id} and {_utc(since)} <= time and time < {_utc(until)}",
        source=Source(
            log=verified.log or NOT_CONFIGURED,
            events=events,
            revision=host.engine.revision,
            catalog=host.catalog.name,
            catalog_version=host.catalog.version,
            tenancy_version=version,
            not_included=_NOT_INCLUDED,
        ),
        chain=verified,
        retention=retention,
        controls=tuple(tally.outcome(verified, retention) for tally in tallies),
        rows_most=rows,
    )


def _events(audit: Audit, tenant: Tenant, since: datetime, until: datetime) -> Iterator[AuditEvent]:
    cursor = None
    while True:
        page = audit.search(tenant.id, since=since, until=until, limit=_PAGE, cursor=cursor)
        yield from page
        cursor = page.cursor
        if cursor is None:
            return


class _Tally:
    """What one control has seen so far."""

    def __init__(self, control: Control, rows: int) -> None:
        self.control = control
        self._most = rows
        self._types: Counter[str] = Counter()
        self._exceptions = 0
        self._rows: list[AuditEvent] = []
        self._exception_rows: list[AuditEvent] = []

    def take(self, event: AuditEvent) -> None:
        control = self.control
        assert control.population is not None
        if not control.population.matches(event):
            return
        self._types[event.type] += 1
        if len(self._rows) < self._most:
            self._rows.append(event)
        if control.exceptions is not None and control.exceptions.matches(event):
            self._exceptions += 1
            if len(self._exception_rows) < self._most:
                self._exception_rows.append(event)

    def outcome(self, chain: Chain, retention: Retention) -> Outcome:
        control = self.control
        checks = tuple(check(name, chain, retention) for name in control.checks)
        count = self._types.total()
        exceptions = self._exceptions + sum(one.status == "EXCEPTION" for one in checks)
        if exceptions:
            status = "EXCEPTIONS"
        elif count or any(one.status == "PASSED" for one in checks):
            status = "EVIDENCE"
        else:
            status = NOT_CONFIGURED if control.population is None else "NO EVENTS"
        return Outcome(
            id=control.id,
            title=control.title,
            status=status,
            query=None if control.population is None else control.population.text,
            count=count,
            by_type=dict(sorted(self._types.items())),
            exceptions_query=None if control.exceptions is None else control.exceptions.text,
            exceptions_meaning=control.meaning,
            exceptions=exceptions,
            rows=tuple(self._rows),
            rows_left_off=count - len(self._rows),
            exception_rows=tuple(self._exception_rows),
            exception_rows_left_off=self._exceptions - len(self._exception_rows),
            checks=checks,
            not_configured=control.not_configured,
        )


def _utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
