"""Preview, running cost, issue. Issuing is idempotent: a period of a tenant has one invoice."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any
from zlib import crc32

from .._text import NS, shown, to_moment
from ..billing import Bill, Invoice
from ..errors import BillingRefused, InvalidValue, NothingToBill, StoreBusy, TenancyError
from ..stores.billing_rows import accounts_count, changed, marks, plain_cursor, tenant_ids
from ..stores.records import Tenant
from ..stores.twins import twin
from ._base import State, read_state
from ._checks import check_metadata, check_whole
from ._documents import Documents
from ._drafts import Draft, check_order, to_issue
from ._periods import PeriodLike, check_label, find, label, period_of
from ._quantities import Metered, UsageLike, closed_until_ns, one_state
from ._records import IssueReport, Progress, Running
from ._store import check_issuable, store_invoices
from ._timeline import Timeline

__all__ = ["Issuing"]

TRIES = 64
BATCH = 500
TOLD_MAX = 1000


class Issuing(Documents):
    """Base of `Billing`: computing what is owed, and issuing it."""

    def preview(
        self,
        tenant: Tenant | str,
        period: PeriodLike | None = None,
        *,
        usage: UsageLike | None = None,
    ) -> Bill:
        """The bill of a period as it would be issued now; by default of the open period.

        `period` is the month or day on which it begins (``"2026-01"``, ``"2026-01-05"``), a moment
        in it, or a `Period`. Of a period that was issued it is the bill that was. Periods before it
        that have no invoice yet use their credits first. Nothing is issued. Raises `BillingRefused`
        without an account or a seller, and `NothingToBill` for a period that no plan of the tenant
        is billed in.
        """
        tenant_id = self._tenant_id(tenant)
        state = self._state(tenant_id)
        timeline = Timeline.of(state.rows[tenant_id])
        span = self._span(timeline, period)
        number = _issued(state, timeline, span)
        if number is not None:
            return self.invoice(number).bill
        _, rows = self._earlier(state, timeline, span)
        draft = self._draft(state, timeline, span, usage, rows)
        if draft is None:
            raise _nothing(timeline, span)
        return draft.bill

    def running(self, tenant: Tenant | str) -> Running:
        """What the open period of a tenant costs until now, in real time."""
        now = to_moment(self._host.clock.wall_ns())
        return Running(self.preview(tenant), now)

    def issue(
        self,
        tenant: Tenant | str,
        period: PeriodLike,
        *,
        usage: UsageLike | None = None,
        metadata: Mapping[str, Any] | None = None,
        by: str | None = None,
    ) -> Invoice:
        """The invoice of a period that has ended, issued now if it was not issued before.

        It is stored, numbered and in the ledger when this returns, in one transaction with the fact
        that says so; asking again, from any process, gives the same invoice. Its usage is closed,
        so that events that come later are refused, and read once. Periods are issued in their
        order. Raises `BillingRefused` for a period that has not ended, `NothingToBill` for one in
        which nothing has a price, `UnknownTenant`, `InvalidValue`.
        """

        def span_of(timeline: Timeline) -> tuple[int, int]:
            return self._span(timeline, period)

        return self._issue(tenant, span_of, usage, metadata, by)

    def issue_first(
        self,
        tenant: Tenant | str,
        *,
        metadata: Mapping[str, Any] | None = None,
        by: str | None = None,
    ) -> Invoice:
        """The first invoice of a tenant whose fees are charged in advance: those of the period in
        which its billing begins. `issue_all` issues it as well.

        It is stored and idempotent as with `issue`. Raises `BillingRefused` where fees are charged
        in arrears, `NothingToBill` when none are due (a trial is free), `UnknownTenant`,
        `InvalidValue`.
        """
        return self._issue(tenant, _opening, None, metadata, by)

    def issue_all(
        self,
        period: str | None = None,
        *,
        progress: Progress | None = None,
        batch: int = BATCH,
        part: tuple[int, int] = (1, 1),
        by: str | None = None,
    ) -> IssueReport:
        """Issue what has ended and has no invoice, of all tenants that have an account.

        With `period`, a month or day such as ``"2026-01"``, only periods that begin in it or before
        it. Where fees are charged in advance, a tenant's first invoice is issued as soon as it has
        an account.
        Periods whose usage still takes late events wait; `issue` closes them earlier. Tenants are
        issued in batches, each one transaction; `progress` is called after each. What is refused
        for one tenant is in the report and stops no other. Killed at any moment and called again,
        it goes on where it was. Several processes share the work when each takes a `part` of the
        tenants: ``(1, 2)`` is the first of two.
        """
        if period is not None:
            check_label(period)
        _check_part(part)
        check_whole(batch, "batch", 1)
        self._settle()
        run = _Run(self, period, by)
        with self._host.cursor() as cursor:
            every = accounts_count(cursor)
        done, after = 0, ""
        while True:
            with self._host.cursor() as cursor:
                ids = tenant_ids(cursor, after, batch)
            if not ids:
                return run.report()
            run.batch([one for one in ids if crc32(one.encode()) % part[1] == part[0] - 1])
            done, after = done + len(ids), ids[-1]
            if progress is not None:
                progress(min(done, every), every)

    # ------------------------------------------------------------------------------ inside

    def _issue(
        self,
        tenant: Tenant | str,
        span_of: Callable[[Timeline], tuple[int, int]],
        usage: UsageLike | None,
        metadata: Mapping[str, Any] | None,
        by: str | None,
    ) -> Invoice:
        tenant_id = self._tenant_id(tenant)
        own = check_metadata(metadata)
        for _ in range(TRIES):
            state = self._state(tenant_id)
            timeline = Timeline.of(state.rows[tenant_id])
            span = span_of(timeline)
            number = _issued(state, timeline, span)
            if number is not None:
                return self.invoice(number)
            self._check_ended(timeline, span)
            check_order(self._earlier(state, timeline, span)[0])
            if usage is None and span[0] != span[1]:
                self._close_usage(tenant_id, span)
            draft = self._draft(state, timeline, span, usage)
            if draft is None or draft.empty:
                raise _nothing(timeline, span)
            check_issuable(draft)
            issued = self._store(state, [draft], own, by)
            if issued:
                return issued[0]
        raise StoreBusy(f"what is known of tenant {tenant_id} changed {TRIES} times meanwhile")

    def _span(self, timeline: Timeline, period: PeriodLike | None) -> tuple[int, int]:
        now_ns = self._host.clock.wall_ns()
        if period is not None:
            return find(timeline.calendar, timeline.begin_ns, period)
        moment = to_moment(max(now_ns, timeline.begin_ns))
        return find(timeline.calendar, timeline.begin_ns, moment)

    def _check_ended(self, timeline: Timeline, span: tuple[int, int]) -> None:
        if self._host.clock.wall_ns() < span[1]:
            raise BillingRefused(
                f"the period ends {to_moment(span[1])}",
                tenant=timeline.tenant,
                remedy="`preview` shows it as it is now",
            )

    def _close_usage(self, tenant_id: str, span: tuple[int, int]) -> None:
        closed_ns = closed_until_ns(self._usage, [tenant_id])
        if closed_ns.get(tenant_id, 0) < span[1]:
            self._usage.close(tenant_id, to_moment(span[1]))

    def _store(
        self, state: State, drafts: list[Draft], metadata: Mapping[str, Any], by: str | None
    ) -> list[Invoice]:
        """Issue those of the drafts for which the store is still what they were computed from."""
        with self._host.write(by) as change:
            cursor = plain_cursor(change)
            now = marks(cursor)
            if now["prices"] != state.marks["prices"]:
                return []
            other = changed(cursor, [draft.rows for draft in drafts], state.marks)
            same = [draft for draft in drafts if draft.timeline.tenant not in other]
            return store_invoices(change, same, now, metadata)

    aissue = twin(issue)
    aissue_all = twin(issue_all)
    aissue_first = twin(issue_first)
    apreview = twin(preview)
    arunning = twin(running)


class _Run:
    """One call of `issue_all`."""

    def __init__(self, billing: Issuing, period: str | None, by: str | None) -> None:
        self._billing = billing
        self._period = period
        self._by = by
        self._issued = self._already = self._refusals = 0
        self._nothing = self._waiting = 0
        self._closed_ns: dict[str, int] = {}
        self._cut: set[str] = set()
        self._more: set[str] = set()
        self._refused: dict[str, str] = {}

    def batch(self, ids: list[str]) -> None:
        """All periods of some tenants: each round one period of each of them."""
        # Before usage is read: what is closed then has all its events in what is read.
        self._closed_ns = closed_until_ns(self._billing._usage, ids)
        with one_state(self._billing._usage) as usage:
            self._rounds(ids, usage)

    def _rounds(self, ids: list[str], usage: Metered | None) -> None:
        waiting = ids
        first = True
        for _ in range(TRIES * 12):
            with self._billing._host.cursor() as cursor:
                state = read_state(cursor, waiting)
            if first:
                self._already += sum(self._there(state, tenant) for tenant in waiting)
            drafts = self._drafts(state, waiting, usage)
            if not drafts:
                return
            first = False
            stored = self._billing._store(state, drafts, {}, self._by)
            self._issued += len(stored)
            done = {invoice.tenant for invoice in stored} - self._more
            waiting = [one.timeline.tenant for one in drafts if one.timeline.tenant not in done]
            if not waiting:
                return
        raise StoreBusy("what is known of some tenants changed again and again meanwhile")

    def _drafts(self, state: State, ids: list[str], usage: Metered | None) -> list[Draft]:
        drafts = (self._draft(state, tenant, usage) for tenant in ids)
        return [draft for draft in drafts if draft is not None]

    def _draft(self, state: State, tenant: str, usage: Metered | None) -> Draft | None:
        try:
            draft = self._next(state, tenant, usage)
            if draft is not None:
                check_issuable(draft)
            return draft
        except TenancyError as error:
            self._refusals += 1
            if len(self._refused) < TOLD_MAX:
                self._refused[tenant] = str(error)
            return None

    def _next(self, state: State, tenant: str, usage: Metered | None) -> Draft | None:
        """The first period that has ended, was asked for, has no invoice and is not empty."""
        billing = self._billing
        rows = state.rows[tenant]
        timeline = Timeline.of(rows)
        now_ns = billing._host.clock.wall_ns()
        for span in to_issue(timeline, rows):
            if span[1] > now_ns or not self._asked(timeline, span):
                return None
            if self._late_may_come(timeline, span):
                self._waiting += 1
                return None
            # What was closed a moment ago is read as it is now.
            source = None if tenant in self._cut else usage
            draft = billing._draft(state, timeline, span, source)
            if draft is not None and not draft.empty:
                after = (span[1], timeline.calendar.end_of(span[1]))
                more = after[1] <= now_ns and self._asked(timeline, after)
                (self._more.add if more else self._more.discard)(tenant)
                return draft
            self._nothing += 1
        return None

    def _late_may_come(self, timeline: Timeline, span: tuple[int, int]) -> bool:
        """Whether usage of a period may still be recorded in time."""
        tenant = timeline.tenant
        if span[0] == span[1] or self._closed_ns.get(tenant, sys.maxsize) >= span[1]:
            return False
        host = self._billing._host
        grace_ns = int(host.catalog.metering.grace * NS)
        if not timeline.calendar.is_cut(span[1]) or host.clock.wall_ns() < span[1] + grace_ns:
            return True
        # It was ended by one that goes on, whose events are taken: so it is closed by itself.
        self._billing._close_usage(tenant, span)
        self._closed_ns[tenant] = span[1]
        self._cut.add(tenant)
        return False

    def _asked(self, timeline: Timeline, span: tuple[int, int]) -> bool:
        if self._period is None:
            return True
        return label(timeline.calendar, span)[: len(self._period)] <= self._period

    def _there(self, state: State, tenant: str) -> int:
        rows = state.rows[tenant]
        if self._period is None or not rows.invoices:
            return 0
        start_ns = rows.invoices[-1].start_ns
        if start_ns is None:  # the opening bill, which is of no period
            return 0
        first = label(Timeline.of(rows).calendar, (start_ns, start_ns))
        return int(first[: len(self._period)] >= self._period)

    def report(self) -> IssueReport:
        return IssueReport(
            issued=self._issued,
            already=self._already,
            nothing=self._nothing,
            waiting=self._waiting,
            refused=self._refused,
            refusals=self._refusals,
        )


def _issued(state: State, timeline: Timeline, span: tuple[int, int]) -> str | None:
    start_ns = None if span[0] == span[1] else span[0]
    for invoice in state.rows[timeline.tenant].invoices:
        if invoice.start_ns == start_ns:
            return invoice.number
    return None


def _opening(timeline: Timeline) -> tuple[int, int]:
    if timeline.opening is None:
        raise BillingRefused(
            "fees were charged in arrears when billing of the tenant began",
            tenant=timeline.tenant,
            remedy="`issue` it at its end, or in the catalog `billing: {fees: in_advance}`",
        )
    return timeline.opening


def _check_part(part: tuple[int, int]) -> None:
    which, of = part if isinstance(part, tuple) and len(part) == 2 else (0, 0)
    if not (type(which) is type(of) is int and 1 <= which <= of):
        raise InvalidValue("part", f"{shown(part)}", remedy="(1, 2) is the first of two parts")


def _nothing(timeline: Timeline, span: tuple[int, int]) -> NothingToBill:
    if span[0] == span[1]:
        return NothingToBill("nothing is charged in advance", tenant=timeline.tenant)
    period = period_of(span)
    return NothingToBill(
        f"nothing has a price from {period.start} to {period.end}", tenant=timeline.tenant
    )
