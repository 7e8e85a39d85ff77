"""Bills on the way to invoices: computed from one state of the store, period after period."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ..billing import Bill, Terms, compute_text
from ..errors import BillingRefused
from ..stores.billing_rows import TenantRows, Use
from ._base import BillingBase, State
from ._money import minus, total
from ._periods import period_of, walk
from ._quantities import Metered, UsageLike, UsageOfSpans, read_usage
from ._terms import charged_use, left_of, make_terms, pending
from ._timeline import Timeline

__all__ = ["Draft", "Drafts", "check_order", "expired_of", "to_issue"]


@dataclass(frozen=True)
class Draft:
    """A bill, and all that it was computed from."""

    rows: TenantRows
    """As they were read."""
    timeline: Timeline
    span: tuple[int, int]
    """Of the opening bill it is empty: the moment at which billing begins."""
    terms: Terms
    usage: UsageOfSpans
    labels: Mapping[str, Any]
    bill: Bill
    text: str
    """The bill as its invoice has it inside."""
    uses: tuple[Use, ...]
    """What it takes from credits and discounts, what expires of credits in its period, and what it
    charges in advance."""

    @property
    def empty(self) -> bool:
        """Nothing in it has a price."""
        return not self.bill.total and not any(line.amount for line in self.bill.lines)


class Drafts(BillingBase):
    """Base of `Billing`: computing bills."""

    def _draft(
        self,
        state: State,
        timeline: Timeline,
        span: tuple[int, int],
        usage: UsageLike | None,
        rows: TenantRows | None = None,
    ) -> Draft | None:
        """The bill of one period; None: no part of it is billed."""
        rows = state.rows[timeline.tenant] if rows is None else rows
        labels = self._labels()
        terms = make_terms(rows, timeline, span, state.prices, self._books, labels)
        if terms is None:
            return None
        read = read_usage(terms, self._usage if usage is None else usage)
        bill, text = compute_text(terms, read)
        uses = _uses(rows, span, bill)
        return Draft(rows, timeline, span, terms, read, labels, bill, text, uses)

    def _earlier(
        self,
        state: State,
        timeline: Timeline,
        span: tuple[int, int],
        usage: Metered | None = None,
    ) -> tuple[list[Draft], TenantRows]:
        """What is to be issued before the bill of a period, and the tenant's rows as they would be
        then."""
        rows = state.rows[timeline.tenant]
        found = []
        for one in to_issue(timeline, rows):
            if one[1] > span[0] or one == span:
                break
            draft = self._draft(state, timeline, one, usage, rows)
            if draft is not None and not draft.empty:
                found.append(draft)
                rows = replace(rows, uses=(*rows.uses, *draft.uses))
        return found, rows

    def _labels(self) -> Mapping[str, Any]:
        """What units are called: stored with an invoice, because catalogs change."""
        metrics = self._host.catalog.metrics
        units = {name: metric.unit for name, metric in metrics.items() if metric.unit}
        return {"units": units} if units else {}


def to_issue(timeline: Timeline, rows: TenantRows) -> Iterator[tuple[int, int]]:
    """The spans of what has no invoice yet, in their order: the opening bill, then each period."""
    if rows.invoices:
        yield from walk(timeline.calendar, rows.invoices[-1].end_ns)
        return
    if timeline.opening is not None:
        yield timeline.opening
    yield from walk(timeline.calendar, timeline.begin_ns)


def check_order(earlier: list[Draft]) -> None:
    """Raise `BillingRefused` when an earlier period is to be issued first."""
    for draft in earlier:
        if draft.span[0] == draft.span[1]:
            raise BillingRefused(
                "the fees of the first period are charged in advance and have no invoice yet",
                tenant=draft.timeline.tenant,
                remedy="`billing.issue_first(tenant)`, or `issue_all`",
            )
        raise BillingRefused(
            f"the period from {period_of(draft.span).start} has no invoice yet",
            tenant=draft.timeline.tenant,
            remedy="issue periods in their order: what one uses of credits the next has not",
        )


def _uses(rows: TenantRows, span: tuple[int, int], bill: Bill) -> tuple[Use, ...]:
    used = [Use("credit", one.id, f"{one.amount:f}") for one in bill.credits if one.amount]
    taken = [Use("discount", one.id, f"{one.amount:f}") for one in bill.discounts if one.amount]
    left = left_of(rows)
    for one in bill.credits:
        left[one.id] = minus(left[one.id], one.amount)
    expired = [
        Use("expired", credit.id, f"{left[credit.id]:f}")
        for credit in rows.credits
        if credit.expires_ns is not None
        and credit.expires_ns <= span[1]
        and credit.currency == bill.currency
        and left[credit.id] > 0
    ]
    late = [Use("adjustment", one["id"], one["total"]) for one in pending(rows, bill.currency)]
    until = period_of((span[1], span[1])).start
    fees = (line for line in bill.lines if line.kind in ("base_fee", "seats"))
    advance = [charged_use(line) for line in fees if line.period.start >= until]
    return (*used, *taken, *expired, *late, *advance)


def expired_of(uses: tuple[Use, ...]) -> Decimal:
    return total(Decimal(use.amount) for use in uses if use.kind == "expired")
