"""`Tenancy.usage`: what tenants used, recorded once and summed exactly."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from .. import _core
from .._text import to_moment, to_ns
from ..billing import Cumulative
from ..catalog import Metric
from ..errors import InvalidValue, QuotaExceeded, UnknownQuota, UnknownUsageEvent
from ..quotas import Quotas
from ..stores import usage_reading as reading
from ..stores.host import Host
from ..stores.records import Page, Tenant
from ..stores.twins import twin
from ..stores.usage_log import CONFLICT, DUPLICATE, Draft, UsageLog
from ..stores.usage_periods import Calendar
from ..stores.usage_projection import UsageProjection
from ..stores.usage_purges import UsagePurges
from ..stores.usage_reading import Found
from ..stores.usage_units import decimal_of
from ._batches import Batch, Progress
from ._columns import Columns
from ._events import Checks, cloud_event
from ._metrics import Metrics
from ._purging import Purging
from ._recording import Recorder
from ._records import Closed, Recorded, Usage, UsageEvent, UsagePeriod, UsageReport
from ._requests import Measured, measured, record
from ._rows import of_file, of_objects
from ._snapshot import UsageSnapshot, usage_event

__all__ = ["UsageMeter"]

Quantity = int | Decimal | str
EVERY_S = 1.0
"""How often the background work brings the table of events up to the log."""
_JOB_CHUNKS = 8


class UsageMeter(Purging):
    """Every call has an `a…` twin. Exact over all threads and processes of the host.

    An event is known by its tenant, `source` and `id`: recorded again with the same content, for as
    long as ids are remembered (32 days from its recording), it counts once.
    """

    def __init__(self, host: Host, quotas: Quotas) -> None:
        self._host = host
        self._quotas = quotas
        self._metrics = Metrics()
        self._calendar = Calendar(host)
        self._log = UsageLog(host.facts.log, host.directory.path, host.clock)
        self._purges = UsagePurges(host, self._log)
        self._projection = UsageProjection(host.directory.path, self._purges.gone)
        self._recorder = Recorder(host, self._log, self._calendar, quotas)
        self._tended = 0

    def metrics(self) -> Mapping[str, Metric]:
        """What can be recorded: the catalog's metrics, and what its price books price."""
        return dict(self._metrics.of(self._host.catalog))

    # ------------------------------------------------------------------------------ recording

    def record(
        self,
        tenant: Tenant | str,
        metric: str,
        quantity: Quantity = 1,
        *,
        id: str | None = None,  # noqa: A002 - the word of CloudEvents
        source: str = "",
        time: datetime | int | float | None = None,
        properties: Mapping[str, Any] | None = None,
        consume: bool | str | None = None,
        backfill: bool = False,
        ack: str = "os",
        by: str | None = None,
    ) -> Recorded:
        """Record that so much of a metric was used.

        `quantity` is at least 0, with at most 12 digits behind the point. `id` makes a retry safe:
        without one, each call is an event of its own. `time` is when it was used (an aware datetime
        or Unix seconds); without one, now. `properties` are a JSON object of at most 16 KiB.

        `consume` charges a quota together with it, both or neither: the metric's own unless said
        otherwise; a name charges that one, False none. `ack` is how safe the event is when this
        returns: ``ring`` survives this process, ``os`` is written, ``disk`` is synced.

        An event whose period is closed is refused, unless it is a `backfill`, which is audited as
        of `by`. Raises `UnknownTenant`, `UnknownMetric`, `InvalidValue` (a float, a negative
        quantity, a time in the future), `PeriodClosed`, `UsageConflict` (the id was recorded with
        other content), `QuotaExceeded`.
        """
        draft = self._checks().draft(
            tenant, metric, quantity, id=id, source=source, time=time, properties=properties
        )
        return self._record(draft, consume, backfill, ack, by, known_id=id is not None)

    def record_event(
        self,
        event: Mapping[str, Any],
        *,
        consume: bool | str | None = None,
        backfill: bool = False,
        ack: str = "os",
        by: str | None = None,
    ) -> Recorded:
        """Record a CloudEvents 1.0 object: `type` is the metric, `subject` the tenant.

        `quantity` of its `data` is the quantity, 1 without; the other members of `data` are the
        properties. A number with a point in it must be a `Decimal` or text: use
        ``json.loads(text, parse_float=Decimal)``. Raises as `record` does.
        """
        draft = self._checks().draft(**cloud_event(event))
        return self._record(draft, consume, backfill, ack, by, known_id=True)

    def record_many(
        self,
        rows: Any,
        *,
        columns: Mapping[str, str] | None = None,
        quantities: Mapping[str, str] | None = None,
        properties: Sequence[str] = (),
        tenant: Tenant | str | None = None,
        metric: str | None = None,
        source: str | None = None,
        time_unit: str | None = None,
        consume: bool | str = False,
        backfill: bool = False,
        ack: str = "os",
        progress: Progress | None = None,
        rejected: str | Path | None = None,
        by: str | None = None,
    ) -> UsageReport:
        """Record the rows of an iterable of mappings, of a mapping of columns, or of a data frame
        or Arrow table. A row that is wrong is rejected, with its reason, and holds up no other.

        Arguments as of `import_`. Rows without an id are given new ones, so they count each time;
        with a `source` they are known by their number. Quotas are charged only with `consume`.
        """
        mapped = Columns(
            columns=columns,
            quantities=quantities,
            properties=properties,
            tenant=tenant,
            metric=metric,
            source=source,
            time_unit=time_unit,
            numbered=source is not None,
        )
        batch = self._batch(mapped, backfill, ack, progress, rejected, consume)
        return self._done(batch, batch.run(of_objects(rows, mapped)), backfill, by)

    def import_(
        self,
        path: str | Path,
        *,
        format: str | None = None,  # noqa: A002 - the word users look for
        columns: Mapping[str, str] | None = None,
        quantities: Mapping[str, str] | None = None,
        properties: Sequence[str] = (),
        tenant: Tenant | str | None = None,
        metric: str | None = None,
        source: str | None = None,
        time_unit: str | None = None,
        backfill: bool = False,
        ack: str = "os",
        progress: Progress | None = None,
        rejected: str | Path | None = None,
        by: str | None = None,
    ) -> UsageReport:
        """Record the rows of a CSV, JSON Lines or Parquet file; `format` where its name does not
        say which (``csv``, ``jsonl``, ``parquet``). CSV and JSON Lines may be compressed (`.gz`).

        A row has the columns `tenant`, `metric`, `quantity`, `id`, `source`, `time` and
        `properties` (a JSON object), or what `columns` names instead of them. `tenant`, `metric`
        and `source` are those of rows that have none of their own. `quantities` names columns that
        are a metric each, so that a row is several events. `properties` lists columns that become
        properties. Times are ISO 8601, in UTC where they name no zone, or numbers of `time_unit`
        (``s``, ``ms``, ``us``, ``ns``) since 1970. A line of JSON with `specversion` is a
        CloudEvent.

        A row without an id is known by its number and the source, which is then the file's name:
        the same file again is all duplicates. Rejected rows are in the report and, all of them, in
        the CSV `rejected`. `progress(done, total)` is called after every few thousand rows.
        Quotas are not charged: it was used already. Raises `InvalidValue` for a file that cannot
        be read, that lacks a column, or whose quantities are floats.
        """
        path = Path(path)
        if source is None:
            source = path.name
        mapped = Columns(
            columns=columns,
            quantities=quantities,
            properties=properties,
            tenant=tenant,
            metric=metric,
            source=source,
            time_unit=time_unit,
            numbered=True,
        )
        with ExitStack() as opened:
            rows = of_file(path, mapped, opened, format)
            batch = self._batch(mapped, backfill, ack, progress, rejected, False)
            return self._done(batch, batch.run(rows), backfill, by)

    def correct(
        self,
        tenant: Tenant | str,
        id: str,  # noqa: A002 - the word of CloudEvents
        *,
        source: str = "",
        quantity: Quantity | None = None,
        time: datetime | int | float | None = None,
        properties: Mapping[str, Any] | None = None,
        backfill: bool = False,
        ack: str = "os",
        by: str | None = None,
    ) -> UsageEvent:
        """Replace what an event said; what is not given stays. The log keeps both; audited.

        Quotas stay as they were charged. Raises `UnknownUsageEvent` for one that was never
        recorded, was taken back, or is older than ids are remembered; `PeriodClosed` when it was,
        or would be, in a period that is closed.
        """
        tenant_id = self._host.tenant_id(tenant)
        before = self._find(tenant_id, id, source)
        draft = self._checks().draft(
            tenant_id,
            before.metric,
            before.quantity if quantity is None else quantity,
            id=id,
            source=source,
            time=before.time if time is None else time,
            properties=before.properties if properties is None else properties,
        )
        if time is None:
            draft = draft._replace(time_ns=before.time_ns)
        self._replace(draft, before, "correct", backfill, ack, by)
        return usage_event(tenant_id, self._found(tenant_id, id, source))

    def cancel(
        self,
        tenant: Tenant | str,
        id: str,  # noqa: A002 - the word of CloudEvents
        *,
        source: str = "",
        backfill: bool = False,
        ack: str = "os",
        by: str | None = None,
    ) -> None:
        """Take an event back, so that it does not count. Rules and errors as of `correct`."""
        tenant_id = self._host.tenant_id(tenant)
        before = self._find(tenant_id, id, source)
        draft = Draft(tenant_id, before.metric, id, source, before.time_ns, "0", None)
        self._replace(draft, before, "cancel", backfill, ack, by)

    # ------------------------------------------------------------------------------ reading

    def aggregate(
        self,
        tenant: Tenant | str,
        metric: str,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        group_by: str | Sequence[str] = (),
        every: str | None = None,
    ) -> Usage:
        """What the events of a metric come to from `since` on and before `until`, exactly.

        By default of the current period. `every` (``hour``, ``day``, ``month``) and `group_by`
        (properties that the catalog lists for the metric) split it into rows, in the tenant's time
        zone; a month is the tenant's own. It has everything whose recording had returned, in any
        process. Raises `UnknownMetric`, `InvalidValue`.
        """
        with self.snapshot() as now:
            return now.aggregate(tenant, metric, since, until, group_by=group_by, every=every)

    def quantities(
        self,
        tenant: Tenant | str,
        *,
        since: datetime,
        cuts: Sequence[datetime],
        metrics: Sequence[str] | None = None,
        as_of: int | None = None,
    ) -> Mapping[str, tuple[Cumulative, ...]]:
        """What the usage from `since` on comes to at each of the moments `cuts`, by metric.

        Moments are in ascending order, and usage at a moment itself does not count to it. Without
        `metrics`: all that are known, and all that the tenant has events of. `as_of` is a place of
        the log (`Closed.position`): only what counted there, so that a bill can be computed again
        as it was. The digest is one of time, quantity, source, id and properties of each event in
        the order of times.
        """
        with self.snapshot() as now:
            return now.quantities(tenant, since=since, cuts=cuts, metrics=metrics, as_of=as_of)

    def events(
        self,
        tenant: Tenant | str,
        metric: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        as_of: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[UsageEvent]:
        """The events behind a number, oldest first; by default of the current period.

        `limit` is at most 10,000; `cursor` is where the page before ended. Kept as long as the
        catalog's `audit: {retention: {usage: …}}` says, seven years unless set.
        """
        with self.snapshot() as now:
            return now.events(tenant, metric, since, until, as_of=as_of, limit=limit, cursor=cursor)

    def event(self, tenant: Tenant | str, id: str, *, source: str = "") -> UsageEvent:  # noqa: A002
        """One event as it counts now. Raises `UnknownUsageEvent`."""
        tenant_id = self._host.tenant_id(tenant)
        return usage_event(tenant_id, self._found(tenant_id, id, source))

    @contextmanager
    def snapshot(self) -> Iterator[UsageSnapshot]:
        """One state of all usage, for many questions: `with t.usage.snapshot() as now: …`."""
        with self._reading() as cursor:
            yield UsageSnapshot(
                cursor,
                self._host.catalog,
                self._metrics,
                self._calendar,
                self._host.clock.wall_ns(),
                self._host.tenant_id,
            )

    # ------------------------------------------------------------------------------ periods

    def period(self, tenant: Tenant | str, at: datetime | int | float | None = None) -> UsagePeriod:
        """The billing period that holds `at`, now by default, and whether it takes events."""
        tenant_id = self._host.tenant_id(tenant)
        now_ns = self._host.clock.wall_ns()
        periods = self._calendar.of(tenant_id)
        start, end = periods.at(now_ns if at is None else to_ns(at, "at"))
        until = end + self._calendar.grace_ns
        closed = now_ns >= until or end <= periods.closed_until_ns
        return UsagePeriod(
            tenant_id,
            to_moment(start),
            to_moment(end),
            to_moment(until),
            "closed" if closed else "open" if now_ns < end else "grace",
        )

    def closed_until(self, tenant: Tenant | str) -> datetime:
        """Events before this time are not taken any more: their periods are closed."""
        tenant_id = self._host.tenant_id(tenant)
        return to_moment(self._calendar.open_from_ns(tenant_id, self._host.clock.wall_ns()))

    def closed_until_many(self, tenants: Sequence[Tenant | str]) -> tuple[datetime, ...]:
        """`closed_until` of each of them, read at once."""
        ids = [self._host.tenant_id(tenant) for tenant in tenants]
        self._calendar.learn(ids)
        now_ns = self._host.clock.wall_ns()
        return tuple(to_moment(self._calendar.open_from_ns(one, now_ns)) for one in ids)

    def close(
        self,
        tenant: Tenant | str,
        until: datetime | int | float | None = None,
        *,
        by: str | None = None,
    ) -> Closed:
        """Take no more events before `until`, by default the start of the current period: for whom
        invoices. Audited.

        When this returns, every event that came in time is in the log, and none can come any more,
        from no process. Closing again, or less, changes nothing. Raises `InvalidValue` for a time
        that is still to come.
        """
        tenant_id = self._host.tenant_id(tenant)
        if until is None:
            until_ns = self._calendar.of(tenant_id).at(self._host.clock.wall_ns())[0]
        else:
            until_ns = to_ns(until, "until")
        closed_ns = self._calendar.close(tenant_id, until_ns, by)
        self._recorder.gate.wait()
        return Closed(tenant_id, to_moment(closed_ns), self._log.first_of(self._log.position()))

    # ------------------------------------------------------------------------------ requests

    def measured(
        self,
        tenant_id: str,
        metric: str,
        quantity: Quantity,
        properties: Mapping[str, Any] | None,
        *,
        said: bool,
    ) -> Measured:
        """For `TenantContext.meter`: checks a part of what a request used."""
        checks = self._checks()
        return measured(checks, tenant_id, metric, quantity, properties, said=said)

    def finish(self, context: Any, key: str | None) -> None:
        """For the web layers: record what a request used that has ended. `key` is its idempotency
        key."""
        name = _core.uuid7(self._host.clock.wall_ns()) if key is None else key
        record(self._recorder.commit, context.meters, context, name)

    # ------------------------------------------------------------------------------ inside

    def job(self) -> Sequence[str]:
        """Background work: bring the table up to the log, a part at a time."""
        with self._host.database.operation():
            end = self._log.readable()
            if end != self._tended:
                self._projection.catch_up(self._log, end, _JOB_CHUNKS)
                self._log.settle()
                self._tended = end
        self._tend_purges()
        return ()

    def close_log(self) -> None:
        """Let go of the log, for the end of `Tenancy`."""
        self._recorder.gate.close()
        self._log.close()

    def _checks(self) -> Checks:
        self._host.current()
        return Checks(self._host, self._metrics)

    def _record(
        self,
        draft: Draft,
        consume: bool | str | None,
        backfill: bool,
        ack: str,
        by: str | None,
        *,
        known_id: bool,
    ) -> Recorded:
        quota = self._quota(draft.metric, consume)
        if quota is None:
            (status,) = self._recorder.commit([draft], ack=ack, backfill=backfill)
        else:
            status = self._charged(draft, quota, ack, backfill, known_id)
        if status == CONFLICT:
            self._recorder.raise_for(status, draft, self._before(draft))
        self._recorder.raise_for(status, draft, None)
        if backfill and status != DUPLICATE:
            self._tell("usage:backfill", draft.tenant, by, events=1)
        return Recorded(draft.tenant, draft.metric, draft.id, draft.source, status == DUPLICATE)

    def _charged(self, draft: Draft, quota: str, ack: str, backfill: bool, known_id: bool) -> int:
        try:
            return self._recorder.charged(draft, quota, ack, backfill)
        except QuotaExceeded:
            # A retry of what was recorded is no new use.
            if known_id and self._before(draft) is not None:
                return self._recorder.commit([draft], ack=ack, backfill=backfill)[0]
            raise

    def _quota(self, metric: str, consume: bool | str | None) -> str | None:
        if consume is False:
            return None
        if consume is None or consume is True:
            own = self._metrics.get(self._host.catalog, metric).quota
            if own is None and consume:
                raise InvalidValue(
                    "consume", f"metric {metric} names no quota", remedy="consume='name of a quota'"
                )
            return own
        if consume not in self._host.catalog.quotas:
            raise UnknownQuota(f"no quota is named {consume!r}")
        return consume

    def _batch(
        self,
        columns: Columns,
        backfill: bool,
        ack: str,
        progress: Progress | None,
        rejected: str | Path | None,
        consume: bool | str,
    ) -> Batch:
        def charge(draft: Draft) -> int:
            quota = self._quota(draft.metric, consume)
            assert quota is not None
            return self._recorder.charged(draft, quota, ack, backfill)

        return Batch(
            self._recorder,
            self._checks,
            columns,
            backfill=backfill,
            ack=ack,
            rejected=None if rejected is None else Path(rejected),
            progress=progress,
            charge=charge if consume else None,
        )

    def _done(
        self, batch: Batch, report: UsageReport, backfill: bool, by: str | None
    ) -> UsageReport:
        if backfill:
            for tenant_id, count in batch.backfilled.items():
                self._tell("usage:backfill", tenant_id, by, events=count)
        return report

    def _replace(
        self, draft: Draft, before: _Before, action: str, backfill: bool, ack: str, by: str | None
    ) -> None:
        if not backfill:
            self._recorder.check_open(draft.tenant, before.time_ns)
        (status,) = self._recorder.commit([draft], action=action, ack=ack, backfill=backfill)
        self._recorder.raise_for(status, draft, None)
        self._tell(f"usage:{action}", draft.tenant, by, id=draft.id, source=draft.source)

    def _tell(self, action: str, tenant_id: str, by: str | None, **context: Any) -> None:
        with self._host.write(by) as change:
            change.fact(
                "config_changed", action, tenant=tenant_id, resource="usage", context=context
            )

    def _before(self, draft: Draft) -> _Before | None:
        try:
            return self._find(draft.tenant, draft.id, draft.source)
        except UnknownUsageEvent:
            return None

    def _find(self, tenant_id: str, id: str, source: str) -> _Before:  # noqa: A002
        found = self._found(tenant_id, id, source)
        return _Before(found)

    def _found(self, tenant_id: str, id: str, source: str) -> Found:  # noqa: A002
        with self._reading() as cursor:
            found = reading.find(cursor, tenant_id, source, id)
        if found is None:
            raise UnknownUsageEvent(f"no usage event {id!r} of source {source!r}", tenant=tenant_id)
        return found

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Cursor]:
        """Keeps forks out as well."""
        with (
            self._host.database.operation(),
            self._projection.caught_up(self._log, self._log.readable()) as cursor,
        ):
            yield cursor

    arecord = twin(record)
    arecord_event = twin(record_event)
    arecord_many = twin(record_many)
    aimport_ = twin(import_)
    acorrect = twin(correct)
    acancel = twin(cancel)
    aaggregate = twin(aggregate)
    aquantities = twin(quantities)
    aevents = twin(events)
    aevent = twin(event)
    aperiod = twin(period)
    aclosed_until = twin(closed_until)
    aclosed_until_many = twin(closed_until_many)
    aclose = twin(close)


class _Before:
    """An event as it counts before a change."""

    def __init__(self, found: Found) -> None:
        self.metric = found.metric
        self.time_ns = found.time_ns
        self.time = to_moment(found.time_ns)
        self.quantity = decimal_of(found.units)
        self.properties = json.loads(found.properties) if found.properties else None
