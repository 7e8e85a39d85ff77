"""A bill of its own, for the tests: every rule of docs/billing.md said once, in `Fraction`.

It shares no code with `tenancy.billing`: fractions of the currency instead of whole cents, and no
short ways. Prices come from the model of prices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from pricing_model import kept, rounded
from tenancy.billing import Discount, Terms

Price = Callable[[Fraction], Fraction]


@dataclass
class SpanModel:
    """What a span's price book says, in fractions."""

    metrics: dict[str, Callable[[Fraction], Price]]
    """By metric, the price for a part of the period."""
    base_fee: Fraction = Fraction(0)
    seat: Price | None = None
    minimum: Fraction | None = None
    maximum: Fraction | None = None
    fees_count: bool = True


@dataclass
class Row:
    kind: str
    span: int
    start: datetime
    end: datetime
    exact: Fraction
    metric: str | None = None
    plan: str | None = None
    accrued: list[tuple[datetime, Fraction]] = field(default_factory=list)
    amount: Fraction = Fraction(0)
    discount: Fraction = Fraction(0)
    credit: Fraction = Fraction(0)
    tax: Fraction = Fraction(0)
    rate: tuple[str, Fraction] = ("O", Fraction(0))
    hidden: bool = False

    @property
    def left(self) -> Fraction:
        return self.amount - self.discount - self.credit


def largest_remainder(total: Fraction, ideal: list[Fraction], unit: Fraction) -> list[Fraction]:
    """Ideal parts rounded down to units; what is missing goes to the largest remainders."""
    down = [math.floor(part / unit) * unit for part in ideal]
    order = sorted(range(len(ideal)), key=lambda i: (down[i] - ideal[i], i))
    missing = (total - sum(down)) / unit
    assert missing.denominator == 1
    assert 0 <= missing <= len(ideal)
    for i in order[: int(missing)]:
        down[i] += unit
    return down


def in_proportion(total: Fraction, weights: list[Fraction], unit: Fraction) -> list[Fraction]:
    every = sum(weights)
    return largest_remainder(total, [total * weight / every for weight in weights], unit)


class BillModel:
    def __init__(
        self,
        terms: Terms,
        spans: list[SpanModel],
        usage: list[dict[str, list[tuple[datetime, Fraction]]]],
        digits: int,
    ) -> None:
        self.terms, self.spans, self.usage, self.digits = terms, spans, usage, digits
        self.rules = terms.rules
        self.unit = Fraction(1, 10**digits)
        self.rows: list[Row] = []
        self.discounts: dict[str, Fraction] = {}
        self.credits: dict[str, Fraction] = {}
        self.taxes: dict[tuple[str, Fraction], tuple[Fraction, Fraction]] = {}
        self.compute()

    def money(self, value: Fraction) -> Fraction:
        return rounded(value, self.digits, self.rules.rounding)

    def part(self, start: datetime, end: datetime, whole: Any = None) -> Fraction:
        whole = whole or self.terms.period
        way = self.rules.proration
        if way == "book":
            way = "second"  # what the books of the tests say
        if way == "none" or (start, end) == (whole.start, whole.end):
            return Fraction(1)
        if way == "second":
            share = Fraction((end - start) / timedelta(seconds=1)) / Fraction(
                (whole.end - whole.start) / timedelta(seconds=1)
            )
        else:
            extra = 1 if way == "day_inclusive" else 0
            days = (end.date() - start.date()).days + extra
            share = Fraction(days, (whole.end.date() - whole.start.date()).days + extra)
        digits = self.rules.proration_digits if self.rules.proration != "book" else -1
        return share if digits < 0 else rounded(share, digits)

    # ---------------------------------------------------------------- charges

    def usage_rows(self) -> list[Row]:
        rows = []
        for i, (span, model) in enumerate(zip(self.terms.spans, self.spans, strict=True)):
            for metric, price_of in model.metrics.items():
                price = price_of(self.part(span.start, span.end))
                quantities = self.usage[i].get(metric) or [(span.end, Fraction(0))]
                final = quantities[-1][1]
                row = Row("usage", i, span.start, span.end, price(final), metric, span.plan)
                show = self.rules.zero_lines
                if row.exact == 0 and (show == "none" or (show == "used" and final == 0)):
                    continue
                begins = [span.start, *(moment for moment, _ in quantities[:-1])]
                reached = [price(quantity) for _, quantity in quantities]
                before = Fraction(0)
                for k, begin in enumerate(begins):
                    due = max(min(reached[k:]), Fraction(0))
                    row.accrued.append((begin, due - before))
                    before = due
                rows.append(row)
        return rows

    def fee_rows(self, i: int, span: Any, model: SpanModel, whole: Any) -> list[Row]:
        rows = []
        if model.base_fee:
            share = kept(model.base_fee * self.part(span.start, span.end, whole))
            rows.append(Row("base_fee", i, span.start, span.end, share, None, span.plan))
        if model.seat is None:
            return rows
        if isinstance(span.seats, tuple):
            counts = [(one.since, Fraction(one.seats)) for one in span.seats]
        else:
            counts = [] if span.seats is None else [(span.start, Fraction(span.seats))]
        counts = counts or [(span.start, Fraction(0))]
        for k, (since, seats) in enumerate(counts):
            until = counts[k + 1][0] if k + 1 < len(counts) else span.end
            amount = model.seat(seats)
            show = self.rules.zero_lines
            if amount == 0 and (show == "none" or (show == "used" and seats == 0)):
                continue
            exact = kept(amount * self.part(since, until, whole))
            rows.append(Row("seats", i, since, until, exact, None, span.plan))
        return rows

    def round_rows(self, rows: list[Row]) -> None:
        if self.rules.round_at == "line":
            for row in rows:
                row.amount = self.money(row.exact)
            return
        ideal = [row.exact for row in rows]
        total = self.money(sum(ideal, Fraction(0)))
        for row, amount in zip(rows, largest_remainder(total, ideal, self.unit), strict=True):
            row.amount = amount

    def commitment_rows(self, rows: list[Row]) -> list[Row]:
        added = []
        for i, (span, model) in enumerate(zip(self.terms.spans, self.spans, strict=True)):
            kinds = {"usage", "seats"} | ({"base_fee"} if model.fees_count else set())
            due = sum(r.amount - r.discount for r in rows if r.span == i and r.kind in kinds)
            share = self.part(span.start, span.end) if self.rules.prorate_commitments else 1
            begin = max([span.start, *(m for m in self.bounds() if span.start < m < span.end)])
            for kind, bound in (("minimum", model.minimum), ("maximum", model.maximum)):
                if bound is None:
                    continue
                bound = self.money(kept(bound * share))
                if (due < bound) if kind == "minimum" else (due > bound):
                    row = Row(kind, i, span.start, span.end, Fraction(0), None, span.plan)
                    row.amount = bound - due
                    row.accrued = [(begin, Fraction(1))]
                    added.append(row)
                    break
        return added

    def bounds(self) -> list[datetime]:
        if self.rules.credit_when == "bill":
            return []
        return [m for c in self.terms.credits for m in (c.starts, c.expires) if m is not None]

    # ----------------------------------------------------- discounts, credits

    def discountable(self, discount: Discount, row: Row) -> bool:
        if discount.periods_left == 0:
            return False
        for names, value in (
            (discount.metrics, row.metric),
            (discount.plans, row.plan),
            (discount.kinds, row.kind),
        ):
            if names and value not in names:
                return False
        moment = row.start
        if self.rules.discount_when == "bill":
            moment = self.terms.period.end - timedelta(microseconds=1)
        return (discount.starts is None or moment >= discount.starts) and (
            discount.ends is None or moment < discount.ends
        )

    def come_to(
        self, rows: list[Row], lines: list[Row], value: Callable[[Row], Fraction]
    ) -> Fraction:
        """Span by span; one that a maximum cut gives no more than it comes to."""
        total = Fraction(0)
        for i in {row.span for row in rows}:
            part = sum((value(row) for row in lines if row.span == i), Fraction(0))
            if any(row.kind == "maximum" and row.span == i for row in rows):
                whole = [value(row) for row in rows if row.span == i]
                part = min(part, sum(whole, Fraction(0)))
            total += part
        return total

    def discount(self, rows: list[Row]) -> None:
        ordered = list(self.terms.discounts)
        if self.rules.discount_order != "given":
            first = [d for d in ordered if d.percent is not None]
            last = [d for d in ordered if d.percent is None]
            ordered = last + first
            if self.rules.discount_order == "percent_first":
                ordered = first + last
        for one in ordered:
            lines = [row for row in rows if self.discountable(one, row)]
            left = self.come_to(rows, lines, lambda row: row.amount - row.discount)
            if left <= 0:
                continue
            if one.amount is not None:
                off = self.money(Fraction(one.amount))
            else:
                assert one.percent is not None
                whole = left
                if self.rules.stacking == "parallel":
                    whole = self.come_to(rows, lines, lambda row: row.amount)
                off = self.money(whole * Fraction(one.percent) / 100)
            if one.cap is not None:
                off = min(off, math.floor(Fraction(one.cap) / self.unit) * self.unit)
            off = min(off, left)
            weights = [max(row.amount - row.discount, Fraction(0)) for row in lines]
            for row, part in zip(lines, in_proportion(off, weights, self.unit), strict=True):
                row.discount += part
            if off:
                self.discounts[one.id] = off

    def pay(self, payable: Callable[[Row], Fraction], *, into_lines: bool) -> None:
        """Walk through time; at each moment the credits that hold then, in their order, pay."""
        pieces: list[list[Any]] = []  # moment, row, left
        surplus = Fraction(0)
        for row in self.rows:
            due = payable(row)
            surplus += max(-due, Fraction(0))
            if due <= 0:
                continue
            if self.rules.credit_when == "bill":
                pieces.append([self.terms.period.end - timedelta(microseconds=1), row, due])
                continue
            moments = row.accrued or [(row.start, Fraction(1))]
            weights = [weight for _, weight in moments]
            if not any(weights):
                weights[-1] = Fraction(1)
            parts = in_proportion(due, weights, self.unit)
            pieces += [[m, row, part] for (m, _), part in zip(moments, parts, strict=True)]
        for piece in sorted(pieces, key=lambda piece: piece[0], reverse=True):
            less = min(surplus, piece[2])
            piece[2] -= less
            surplus -= less
        balance = {one.id: Fraction(one.amount) for one in self.terms.credits}
        far = datetime.max.replace(tzinfo=self.terms.period.end.tzinfo)
        order = sorted(
            self.terms.credits,
            key=lambda c: (c.priority, c.expires or far, str(c.starts or ""), c.id),
        )
        for moment in sorted({piece[0] for piece in pieces}):
            for one in order:
                if (one.starts and moment < one.starts) or (one.expires and moment >= one.expires):
                    continue
                now = [
                    piece
                    for piece in pieces
                    if piece[0] == moment
                    and piece[2] > 0
                    and (not one.metrics or piece[1].metric in one.metrics)
                    and (not one.kinds or piece[1].kind in one.kinds)
                ]
                paid = min(balance[one.id], sum((piece[2] for piece in now), Fraction(0)))
                if not paid:
                    continue
                balance[one.id] -= paid
                self.credits[one.id] = self.credits.get(one.id, Fraction(0)) + paid
                parts = in_proportion(paid, [piece[2] for piece in now], self.unit)
                for piece, part in zip(now, parts, strict=True):
                    piece[2] -= part
                    if into_lines:
                        piece[1].credit += part

    # -------------------------------------------------------------------- tax

    def rate_of(self, row: Row) -> tuple[str, Fraction]:
        tax, buyer = self.terms.tax, self.terms.buyer
        if tax is None or buyer is None:
            return ("O", Fraction(0))
        if buyer.exempt:
            return ("E", Fraction(0))
        product = tax.products.get(row.metric or row.kind) or tax.products.get(row.kind)
        for rate in tax.rates:
            if rate.country == buyer.country and rate.product == (product or "standard"):
                return ("S" if rate.rate else "Z", Fraction(rate.rate) / 100)
        raise AssertionError("the tests give a rate for every product")

    def apply_tax(self) -> None:
        inclusive = self.terms.tax is not None and self.terms.tax.inclusive
        for key in dict.fromkeys(row.rate for row in self.rows):
            lines = [row for row in self.rows if row.rate == key]
            factor = key[1] / (1 + key[1]) if inclusive else key[1]
            ideal = [row.left * factor for row in lines]
            if self.rules.tax_at == "line":
                parts = [self.money(part) for part in ideal]
            else:
                parts = largest_remainder(self.money(sum(ideal, Fraction(0))), ideal, self.unit)
            for row, part in zip(lines, parts, strict=True):
                row.tax = part
            base = sum((row.left for row in lines), Fraction(0))
            tax = sum(parts, Fraction(0))
            self.taxes[key] = (base - tax if inclusive else base, tax)

    # -------------------------------------------------------------- the whole

    def settle(self, own: list[Row]) -> list[Row]:
        """Fees that an earlier bill charged: hidden where they are the same, else taken off."""
        period = self.terms.period
        taken = []
        for kind in ("base_fee", "seats"):
            charged = [one for one in self.terms.charged if one.kind == kind]
            fees = [row for row in own if row.kind == kind]
            before = sum((self.money(Fraction(one.amount)) for one in charged), Fraction(0))
            off = sum((self.money(Fraction(one.discount)) for one in charged), Fraction(0))
            if charged and sum(row.amount for row in fees) == before:
                for row in fees:
                    row.hidden = True
                if off and self.rules.order.startswith("discount"):
                    parts = in_proportion(off, [row.amount for row in fees], self.unit)
                    for row, part in zip(fees, parts, strict=True):
                        row.discount = part
                continue
            for one in charged:
                row = Row("adjustment", -1, period.start, period.end, Fraction(0), None, one.plan)
                row.amount = self.money(Fraction(one.discount)) - self.money(Fraction(one.amount))
                taken.append(row)
        return taken

    def earlier(self) -> list[Row]:
        rows = []
        for one in self.terms.adjustments:
            start, end = one.period.start, one.period.end
            row = Row("adjustment", -1, start, end, Fraction(0), one.metric, one.plan)
            row.amount = self.money(Fraction(one.amount))
            rows.append(row)
        return rows

    def lift(self) -> None:
        """What lies below zero is lifted, rate by rate, where the rules say so."""
        if self.rules.negative != "zero" or sum(row.left for row in self.rows) >= 0:
            return
        for key in dict.fromkeys(row.rate for row in self.rows):
            missing = -sum((row.left for row in self.rows if row.rate == key), Fraction(0))
            if missing:
                start, end = self.terms.period.start, self.terms.period.end
                row = Row("adjustment", -1, start, end, Fraction(0))
                row.amount, row.rate = missing, key
                self.rows.append(row)

    def compute(self) -> None:
        terms = self.terms
        own = self.usage_rows()
        for i, (span, model) in enumerate(zip(terms.spans, self.spans, strict=True)):
            own += self.fee_rows(i, span, model, terms.period)
        ahead: list[Row] = []
        if terms.advance is not None:
            ahead = self.fee_rows(-1, terms.advance, self.spans[0], terms.advance)
        self.round_rows(own + ahead)
        taken = self.settle(own)
        if terms.rules.order.startswith("minimum"):
            own += self.commitment_rows(own)
            self.discount([row for row in own if not row.hidden] + ahead)
        else:
            self.discount([row for row in own if not row.hidden] + ahead)
            own += self.commitment_rows(own)
        rows = [row for row in own if not row.hidden] + ahead + taken + self.earlier()
        self.rows = rows
        for row in rows:
            row.rate = self.rate_of(row)
        self.lift()
        before = terms.rules.order.endswith("credit tax")
        inclusive = terms.tax is not None and terms.tax.inclusive
        if before:
            self.pay(lambda row: row.left, into_lines=True)
        self.apply_tax()
        if not before:
            gross = (lambda row: row.left) if inclusive else (lambda row: row.left + row.tax)
            self.pay(gross, into_lines=False)
        zero = Fraction(0)
        self.subtotal = sum((row.amount for row in rows), zero)
        self.discount_total = sum((row.discount for row in rows), zero)
        self.credit_total = sum(self.credits.values(), zero)
        self.tax_total = sum((row.tax for row in rows), zero)
        left = sum((row.left for row in rows), zero)
        self.net = left - self.tax_total if inclusive else left
        self.total = self.net + self.tax_total
        self.due = max(self.total - (zero if before else self.credit_total), zero)
