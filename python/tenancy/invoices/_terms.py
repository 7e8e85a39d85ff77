"""From what the store knows of a tenant to the terms of a bill. Pure: the same of the same rows.

What counts: for the currency and the price book of a plan the start of the period; for tax, the
seller's settings and the discounts its end. Time in a status that is not billed is free.

Where fees are charged in advance, the bill of a period has the fees of the next one; the opening
bill, whose span is empty and lies where billing begins, has those of the first and nothing else.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any

from .._text import to_ns
from ..billing import (
    Adjustment,
    Advance,
    BillLine,
    Charged,
    Credit,
    Discount,
    EventsRef,
    Period,
    SeatCount,
    Span,
    Terms,
)
from ..pricing import PriceBook
from ..stores.billing_rows import TenantRows, Use
from ._money import minus
from ._prices import Books, PlanPrices
from ._timeline import Timeline, held, held_since, moment

__all__ = ["charged_use", "left_of", "make_terms", "pending"]


def make_terms(
    rows: TenantRows,
    timeline: Timeline,
    span: tuple[int, int],
    prices: PlanPrices,
    books: Books,
    labels: Mapping[str, Mapping[str, str]],
) -> Terms | None:
    """What a bill of one period is computed from; None: no part of it is billed."""
    start_ns, end_ns = span
    opening = start_ns == end_ns
    judged_ns = start_ns if opening else end_ns - 1
    currency = timeline.account_at(start_ns).currency
    settings = timeline.settings_at(judged_ns)
    spans = (
        [] if opening else list(_spans(timeline, span, settings.billed, currency, prices, books))
    )
    advance = _advance(timeline, end_ns, settings.billed, currency, prices, books)
    charged = () if opening else tuple(_charged(rows, span))
    adjustments = [one for found in pending(rows, currency) for one in _adjustments(found)]
    if not (spans or advance or charged or adjustments):
        return None
    if opening:
        end_ns = timeline.calendar.end_of(start_ns)
    whole = timeline.calendar.whole((start_ns, end_ns))
    return Terms(
        rows.tenant_id,
        Period(moment(start_ns), moment(end_ns)),
        currency,
        spans,
        whole=Period(moment(whole[0]), moment(whole[1])),
        advance=advance,
        charged=charged,
        adjustments=adjustments,
        discounts=_discounts(rows, end_ns),
        credits=_credits(rows, currency, end_ns),
        tax=settings.tax,
        buyer=timeline.account_at(judged_ns).tax_status,
        rules=settings.rules,
        time_zone=timeline.calendar.zone_at(start_ns),
        names=labels.get("names"),
        units=labels.get("units"),
    )


def left_of(rows: TenantRows) -> dict[str, Decimal]:
    """What is left of each credit, by id, without what expired."""
    left = {credit.id: Decimal(credit.amount) for credit in rows.credits}
    for use in rows.uses:
        if use.kind in ("credit", "expired"):
            left[use.ref] = minus(left[use.ref], Decimal(use.amount))
        elif use.kind == "returned":
            left[use.ref] = minus(left[use.ref], -Decimal(use.amount))
    return left


def pending(rows: TenantRows, currency: str) -> list[Mapping[str, Any]]:
    """Adjustments that no bill has yet, of one currency."""
    billed = {use.ref for use in rows.uses if use.kind == "adjustment"}
    found = [json.loads(fact.value) for fact in rows.facts if fact.kind == "adjustment"]
    return [one for one in found if one["id"] not in billed and one["currency"] == currency]


def _adjustments(value: Mapping[str, Any]) -> list[Adjustment]:
    period = Period(moment(value["start_ns"]), moment(value["end_ns"]))
    return [
        Adjustment(
            line["description"],
            line["amount"],
            period,
            metric=line["metric"],
            events=EventsRef(line["events"], line["digest"]) if line["events"] else None,
        )
        for line in value["lines"]
    ]


def _advance(
    timeline: Timeline,
    start_ns: int,
    billed: tuple[str, ...],
    currency: str,
    prices: PlanPrices,
    books: Books,
) -> Advance | None:
    """The fees of the period that begins there, as far as is known; None: none in advance.

    Where its currency is another one, its own bill has its fees.
    """
    if not timeline.options_at(start_ns).in_advance:
        return None
    if timeline.account_at(start_ns).currency != currency:
        return None
    span = (start_ns, timeline.calendar.end_of(start_ns))
    # Who was made within the first period pays for what is left of it.
    since_ns = max(start_ns, timeline.plans[0][0])
    if since_ns >= span[1] or held(timeline.statuses, since_ns) not in billed:
        return None
    plan = held(timeline.plans, since_ns)
    own = held_since(timeline.books, since_ns, None)
    digest = own if own is not None else prices.digest(plan, start_ns)
    if digest is None:
        return None
    book = books.get(digest, plan)
    seats = None
    if book.seats is not None and timeline.seats:
        seats = held_since(timeline.seats, since_ns, Decimal(0))
    whole = timeline.calendar.whole(span)
    return Advance(
        moment(since_ns),
        moment(span[1]),
        book,
        plan,
        seats,
        whole=Period(moment(whole[0]), moment(whole[1])),
    )


def charged_use(line: BillLine) -> Use:
    """What is remembered of a fee that was charged in advance."""
    ref = {
        "kind": line.kind,
        "plan": line.plan,
        "discount": f"{line.discount:f}",
        "since_ns": to_ns(line.period.start, "period"),
    }
    return Use("advance", json.dumps(ref, sort_keys=True), f"{line.amount:f}")


def _charged(rows: TenantRows, span: tuple[int, int]) -> Iterable[Charged]:
    """The fees of a period that were charged in advance."""
    for use in rows.uses:
        if use.kind == "advance":
            ref = json.loads(use.ref)
            if span[0] <= ref["since_ns"] < span[1]:
                yield Charged(ref["kind"], use.amount, ref["discount"], ref["plan"])


def _spans(
    timeline: Timeline,
    span: tuple[int, int],
    billed: tuple[str, ...],
    currency: str,
    prices: PlanPrices,
    books: Books,
) -> Iterable[Span]:
    """The parts in which one plan and one book hold; free parts only between those that are not."""
    start_ns, end_ns = span
    bounds = {start_ns, end_ns}
    for history in (timeline.plans, timeline.statuses, timeline.books):
        bounds.update(at for at, _ in history if start_ns < at < end_ns)
    bounds.update(prices.changes(span, timeline.at_once))
    parts: list[tuple[int, int, str, str | None]] = []  # start, end, plan, digest of its book
    for part, until in _pairs(sorted(bounds)):
        plan = held(timeline.plans, part)
        own = held_since(timeline.books, part, None)
        digest: str | None = ""
        if held(timeline.statuses, part) in billed and part >= timeline.plans[0][0]:
            digest = (
                own
                if own is not None
                else prices.digest_within(plan, start_ns, part, timeline.at_once)
            )
        if parts and parts[-1][2:] == (plan, digest):
            parts[-1] = (parts[-1][0], until, plan, digest)
        else:
            parts.append((part, until, plan, digest))
    paid = [i for i, part in enumerate(parts) if part[3]]
    for part, until, plan, digest in parts[paid[0] : paid[-1] + 1] if paid else ():
        book = books.get(digest, plan) if digest else books.free(currency)
        yield Span(moment(part), moment(until), book, plan, _seats(timeline, book, part, until))


def _seats(timeline: Timeline, book: PriceBook, start_ns: int, end_ns: int) -> list[SeatCount]:
    if book.seats is None or not timeline.seats:
        return []
    counts = [SeatCount(moment(start_ns), held_since(timeline.seats, start_ns, Decimal(0)))]
    later = {at: seats for at, seats in timeline.seats if start_ns < at < end_ns}
    counts += [SeatCount(moment(at), seats) for at, seats in sorted(later.items())]
    return counts


def _discounts(rows: TenantRows, end_ns: int) -> list[Discount]:
    spent = Counter(use.ref for use in rows.uses if use.kind == "discount")
    found = []
    for redemption in rows.redemptions:
        value = dict(_coupon(redemption.value))
        periods = value.pop("periods", None)
        for bound in ("max_redemptions", "redeem_until_ns"):
            value.pop(bound, None)
        ends_ns = value.pop("ends_ns", None)
        if redemption.since_ns >= end_ns or (
            ends_ns is not None and ends_ns <= redemption.since_ns
        ):
            continue
        found.append(
            Discount(
                redemption.id,
                code=redemption.code,
                starts=moment(redemption.since_ns),
                ends=None if ends_ns is None else moment(ends_ns),
                periods_left=None if periods is None else max(0, periods - spent[redemption.id]),
                **value,
            )
        )
    return found


def _credits(rows: TenantRows, currency: str, end_ns: int) -> list[Credit]:
    left = left_of(rows)
    return [
        Credit(
            credit.id,
            left[credit.id],
            credit.currency,
            credit.name,
            priority=credit.priority,
            starts=moment(credit.since_ns) if credit.since_ns else None,
            expires=None if credit.expires_ns is None else moment(credit.expires_ns),
        )
        for credit in rows.credits
        if credit.currency == currency and left[credit.id] > 0 and credit.since_ns < end_ns
    ]


@lru_cache(maxsize=64)
def _coupon(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(text)
    return found


def _pairs(bounds: list[int]) -> Iterable[tuple[int, int]]:
    return pairwise(bounds)
