"""Reading usage: sums, events, and quantities for bills, all of one state of the table."""

from __future__ import annotations

import copy
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from .._text import check_page, listed, shown, to_moment, to_ns
from ..billing import Cumulative
from ..catalog import Catalog, Metric
from ..errors import InvalidValue, UnknownTenant
from ..frames import Frame
from ..stores import usage_reading as reading
from ..stores.records import Page
from ..stores.usage_periods import Calendar, TenantPeriods
from ..stores.usage_reading import Found, Question, State
from ..stores.usage_units import SCALE, decimal_of
from ._aggregation import Event, Stretch, accumulator, property_text, stretches
from ._events import json_text
from ._frame import usage_frame
from ._kept import KeptTotals, Total
from ._metrics import Metrics, hint
from ._records import Usage, UsageEvent, UsageRow

__all__ = ["EVERY", "UsageSnapshot"]

EVERY = ("hour", "day", "month")
_STRETCHES_MAX = 10_000
_DISTANT_NS = -(1 << 62)


def _count(cursor: sqlite3.Cursor, question: Question) -> Total:
    count = reading.total(cursor, question)[1]
    return count * SCALE, count


_IN_SQL: Mapping[str, Callable[[sqlite3.Cursor, Question], Total]] = {
    "sum": reading.total,
    "count": _count,
    "max": reading.largest,
    "last": reading.newest,
}
"""What SQLite tells of a whole stretch without a look at each event here: quantity, events."""


class UsageSnapshot:
    """What was recorded when it was made: a context manager of `UsageMeter.snapshot`.

    Its calls are those of `UsageMeter` and cost less: the table is brought up to the log once. One
    thread.
    """

    def __init__(
        self,
        cursor: sqlite3.Cursor,
        catalog: Catalog,
        metrics: Metrics,
        calendar: Calendar,
        now_ns: int,
        tenant_id: Any,
    ) -> None:
        self._cursor = cursor
        self._names = reading.Names(cursor)
        self._catalog = catalog
        self._metrics = metrics
        self._calendar = calendar
        self._now_ns = now_ns
        self._tenant_id = tenant_id
        self._kept: tuple[KeptTotals, State] | None = None

    # ------------------------------------------------------------------------------ sums

    def aggregate(
        self,
        tenant: Any,
        metric: str,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        group_by: str | Sequence[str] = (),
        every: str | None = None,
    ) -> Usage:
        """See `UsageMeter.aggregate`."""
        tenant_id, known = self._tenant_id(tenant), self._metrics.get(self._catalog, metric)
        groups = _groups(known, group_by)
        periods = self._calendar.of(tenant_id)
        since_ns, until_ns = self._bounds(periods, since, until)
        bounds = [since_ns, *_steps(since_ns, until_ns, every, periods), until_ns]
        question = Question(tenant_id, known.name, since_ns, until_ns)
        whole, parts = self._sums(known, question, bounds, groups)
        if every is not None and len(bounds) == 2 and not groups:
            parts = [whole]
        rows = tuple(
            UsageRow(
                to_moment(part.since_ns),
                to_moment(part.until_ns),
                decimal_of(part.units),
                part.events,
                dict(zip(groups, part.group, strict=True)),
            )
            for part in parts
        )
        return Usage(
            tenant=tenant_id,
            metric=known.name,
            aggregation=known.aggregation,
            unit=known.unit,
            since=to_moment(since_ns),
            until=to_moment(until_ns),
            quantity=decimal_of(whole.units),
            events=whole.events,
            rows=rows,
        )

    def frame(
        self,
        since: datetime,
        until: datetime,
        *,
        tenants: Sequence[Any] | None = None,
        metrics: Sequence[str] | None = None,
        every: str = "day",
    ) -> Frame:
        """What many tenants used from `since` on and before `until`: a row for each tenant, metric
        and stretch of time (``hour``, ``day`` or ``month``, of the tenant's own time zone).

        The columns are ``tenant`` (its id), ``metric``, ``time`` (when the stretch begins),
        ``quantity`` (exact, in the metric's unit) and ``events``, as `tenancy.forecast` and
        `tenancy.whatif` read them. Without `tenants`: all that have events; without `metrics`: all
        that are known of which a tenant has any. A series begins with its first stretch that has
        events, and has each one from there on. Raises `UnknownTenant`, `UnknownMetric`,
        `InvalidValue`.
        """
        known = self._metrics.of(self._catalog)
        for name in metrics or ():
            self._metrics.get(self._catalog, name)
        ids = self._recording() if tenants is None else [self._tenant_id(each) for each in tenants]
        return usage_frame(
            self.aggregate(one, name, since, until, every=every)
            for one in ids
            for name in sorted(reading.recorded(self._cursor, one) & (set(metrics or known)))
        )

    def _recording(self) -> list[str]:
        """Tenants that have events; those that were purged are nobody's business any more."""
        found = []
        for name in reading.tenants(self._cursor):
            with suppress(UnknownTenant):
                found.append(self._tenant_id(name))
        return found

    def _sums(
        self, metric: Metric, question: Question, bounds: list[int], groups: tuple[str, ...]
    ) -> tuple[Stretch, list[Stretch]]:
        since_ns, until_ns = bounds[0], bounds[-1]
        in_sql = None if len(bounds) > 2 or groups else _IN_SQL.get(metric.aggregation)
        if in_sql is not None:
            units, count = in_sql(self._cursor, question)
            return Stretch(since_ns, until_ns, units, count, ()), []
        whole = accumulator(metric, since_ns)

        def watched() -> Iterator[Event]:
            for event in self._events(metric, question, groups):
                whole.add(event)
                yield event

        if len(bounds) == 2 and not groups:
            for _ in watched():
                pass
            parts = []
        else:
            parts = list(stretches(metric, watched(), bounds, grouped=bool(groups)))
        return Stretch(since_ns, until_ns, whole.at(until_ns), whole.events, ()), parts

    def _events(
        self, metric: Metric, question: Question, groups: tuple[str, ...]
    ) -> Iterator[Event]:
        """Those of the question; of a level that of before, too."""
        if metric.aggregation == "time_weighted":
            if groups:  # each group has a level of its own
                question = question._replace(since_ns=_DISTANT_NS)
            elif (found := reading.last_before(self._cursor, question)) is not None:
                yield _event(found, metric, groups)
        for found in reading.events(self._cursor, question, self._names):
            yield _event(found, metric, groups)

    # ------------------------------------------------------------------------------ for bills

    def totals(self, kept: KeptTotals) -> UsageSnapshot:
        """For running bills that nobody keeps: the same quantities without the digests of their
        events, of which only those need be looked at that are new since `kept` was asked last."""
        same = copy.copy(self)
        same._kept = kept, reading.state(self._cursor)
        return same

    def quantities(
        self,
        tenant: Any,
        *,
        since: datetime,
        cuts: Sequence[datetime],
        metrics: Sequence[str] | None = None,
        as_of: int | None = None,
    ) -> Mapping[str, tuple[Cumulative, ...]]:
        """See `UsageMeter.quantities`."""
        tenant_id = self._tenant_id(tenant)
        since_ns = to_ns(since, "since")
        ends = [to_ns(cut, "cuts") for cut in cuts]
        if ends != sorted(ends) or (ends and ends[0] < since_ns):
            raise InvalidValue("cuts", "expected moments in ascending order, none before since")
        known = self._metrics.of(self._catalog)
        if metrics is None:
            recorded = reading.recorded(self._cursor, tenant_id)
            chosen = {name: known.get(name, Metric(name)) for name in sorted({*known, *recorded})}
        else:
            chosen = {name: self._metrics.get(self._catalog, name) for name in metrics}
        if not ends:
            return dict.fromkeys(chosen, ())
        result = {}
        for name, metric in chosen.items():
            question = Question(tenant_id, name, since_ns, ends[-1], as_of)
            if self._kept is not None and as_of is None:
                result[name] = self._totals(*self._kept, metric, question, cuts, ends)
            else:
                result[name] = self._cumulative(metric, question, cuts, ends)
        return result

    def _totals(
        self,
        kept: KeptTotals,
        state: State,
        metric: Metric,
        question: Question,
        cuts: Sequence[datetime],
        ends: list[int],
    ) -> tuple[Cumulative, ...]:
        def read(one: Question) -> Total:
            whole, _ = self._sums(metric, one, [one.since_ns, one.until_ns], ())
            return whole.units, whole.events

        told = []
        for cut, end_ns in zip(cuts, ends, strict=True):
            part = question._replace(until_ns=end_ns)
            units, events = kept.of(self._cursor, state, metric, part, read)
            told.append(Cumulative(cut, decimal_of(units), events))
        return tuple(told)

    def _cumulative(
        self, metric: Metric, question: Question, cuts: Sequence[datetime], ends: list[int]
    ) -> tuple[Cumulative, ...]:
        running = accumulator(metric, question.since_ns)
        digest = hashlib.sha256()
        told: list[Cumulative] = []

        def tell(until: datetime, end_ns: int) -> None:
            seen = digest.hexdigest() if running.events else ""
            told.append(Cumulative(until, decimal_of(running.at(end_ns)), running.events, seen))

        rows: Iterable[Found] = reading.events(self._cursor, question, self._names)
        if metric.aggregation == "time_weighted":
            before = reading.last_before(self._cursor, question)
            if before is not None:
                running.add(_event(before, metric, ()))
                digest.update(_line(before))
        for found in rows:
            while found.time_ns >= ends[len(told)]:
                tell(cuts[len(told)], ends[len(told)])
            running.add(_event(found, metric, ()))
            digest.update(_line(found))
        while len(told) < len(ends):
            tell(cuts[len(told)], ends[len(told)])
        return tuple(told)

    # ------------------------------------------------------------------------------ events

    def events(
        self,
        tenant: Any,
        metric: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        as_of: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[UsageEvent]:
        """See `UsageMeter.events`."""
        tenant_id = self._tenant_id(tenant)
        check_page(limit, 10_000)
        if metric is not None and metric not in reading.recorded(self._cursor, tenant_id):
            self._metrics.get(self._catalog, metric)
        since_ns, until_ns = self._bounds(self._calendar.of(tenant_id), since, until)
        question = Question(tenant_id, metric, since_ns, until_ns, as_of)
        rows = reading.page(self._cursor, question, _place(cursor), limit + 1)
        more = None
        if len(rows) > limit:
            rows.pop()
            more = f"{rows[-1].time_ns}.{rows[-1].position}"
        return Page(tuple(usage_event(tenant_id, found) for found in rows), more)

    # ------------------------------------------------------------------------------ inside

    def _bounds(
        self, periods: TenantPeriods, since: datetime | None, until: datetime | None
    ) -> tuple[int, int]:
        start, end = periods.at(self._now_ns)
        since_ns = start if since is None else to_ns(since, "since")
        until_ns = end if until is None else to_ns(until, "until")
        if since_ns >= until_ns:
            raise InvalidValue(
                "until", f"{to_moment(until_ns)} is not after since, {to_moment(since_ns)}"
            )
        return since_ns, until_ns


def usage_event(tenant_id: str, found: Found) -> UsageEvent:
    return UsageEvent(
        id=found.event_id,
        source=found.source,
        tenant=tenant_id,
        metric=found.metric,
        quantity=decimal_of(found.units),
        time=to_moment(found.time_ns),
        properties=json.loads(found.properties) if found.properties else {},
        recorded_at=to_moment(found.recorded_ns),
        position=found.position,
        corrected=found.corrects,
    )


def _line(found: Found) -> bytes:
    """What an event adds to the digest of a number: no part of it holds a control character."""
    return (
        f"{found.time_ns}\t{found.units}\t{found.source}\t{found.event_id}\t"
        f"{found.properties or ''}\n"
    ).encode()


def _event(found: Found, metric: Metric, groups: tuple[str, ...]) -> Event:
    if not groups and metric.unique_by is None:
        return Event(found.time_ns, found.units)
    properties = json.loads(found.properties) if found.properties else {}
    value = None
    if metric.unique_by is not None and properties.get(metric.unique_by) is not None:
        value = json_text(properties[metric.unique_by])
    group = tuple(property_text(properties.get(name), json_text) for name in groups)
    return Event(found.time_ns, found.units, value, group)


def _groups(metric: Metric, group_by: str | Sequence[str]) -> tuple[str, ...]:
    names = (group_by,) if isinstance(group_by, str) else tuple(group_by)
    for name in names:
        if name not in metric.group_by:
            near = hint(name, dict.fromkeys(metric.group_by, metric))
            declared = f"{metric.name} is grouped by {listed(metric.group_by)}"
            remedy = near if "did you mean" in near else f"{declared}; list it under `group_by`"
            raise InvalidValue("group_by", f"{shown(name)} is no such property", remedy=remedy)
    if len(set(names)) != len(names):
        raise InvalidValue("group_by", "names a property twice")
    return names


def _steps(since_ns: int, until_ns: int, every: str | None, periods: TenantPeriods) -> list[int]:
    """Where hours, days or months begin, in the tenant's time zone, between the two."""
    if every is None:
        return []
    if every not in EVERY:
        raise InvalidValue("every", shown(every), remedy=f"one of {', '.join(EVERY)}")
    zone = ZoneInfo(periods.time_zone) if periods.time_zone else timezone.utc
    steps: list[int] = []
    at_ns = since_ns
    while (at_ns := _next(at_ns, every, periods, zone)) < until_ns:
        steps.append(at_ns)
        if len(steps) >= _STRETCHES_MAX:
            raise InvalidValue(
                "every",
                f"more than {_STRETCHES_MAX} rows",
                remedy="a shorter time, or longer steps",
            )
    return steps


def _next(at_ns: int, every: str, periods: TenantPeriods, zone: Any) -> int:
    if every == "month":
        return periods.month_at(at_ns)[1]
    local = to_moment(at_ns).astimezone(zone)
    if every == "hour":
        whole = local.replace(minute=0, second=0, microsecond=0)
        return to_ns(whole.astimezone(timezone.utc) + timedelta(hours=1), "every")
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0) + timedelta(days=1)
    return to_ns(day.astimezone(timezone.utc), "every")


def _place(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    time_ns, _, position = str(cursor).partition(".")
    if not (time_ns.isdigit() and position.isdigit()) or len(cursor) > 40:
        raise InvalidValue("cursor", f"{shown(cursor)} is none of ours")
    return int(time_ns), int(position)
