"""The charges of a bill: usage, base fees, seats, and what commitments add or take off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final

from .. import _core
from .._text import shown
from ..errors import InvalidValue
from ..pricing import Price, PriceBook
from ._documents import EventsRef, LineKind, Period, TierLine
from ._draft import Draft
from ._numbers import PICO, exact, pico_of, rounded
from ._terms import Advance, SeatCount, Span, Terms, check_zone, cuts
from ._usage import Cumulative

_WHOLE: Final = (1, 1)
_NAMES: Final = {
    "base_fee": "Base fee",
    "seats": "Seats",
    "minimum": "Minimum charge",
    "maximum": "Maximum charge",
    "adjustment": "Adjustment",
}
_MICROSECOND: Final = timedelta(microseconds=1)

UsageBySpan = Sequence[Mapping[str, Sequence[Cumulative]]]


class Charges:
    """Makes the drafts of one bill out of its terms."""

    __slots__ = ("moments", "terms", "whole")

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.moments = cuts(terms)
        self.whole = terms.whole or terms.period  # of which fees count a part

    def of_usage(self, usage: UsageBySpan) -> Iterator[Draft]:
        """The charge of every metric, span by span in the order of its price book."""
        spans = self.terms.spans
        if isinstance(usage, Mapping) or len(usage) != len(spans):
            raise InvalidValue(
                "usage",
                f"expected a list with one mapping for each of {len(spans)} spans",
                remedy="[{metric: [Cumulative(…)]}, …]",
            )
        for i, span in enumerate(spans):
            for metric in usage[i].keys() - span.book.keys():
                raise InvalidValue(
                    f"usage[{i}]",
                    f"price book {span.book.name} has no metric {shown(metric)}",
                    remedy=f"it has {', '.join(span.book)}",
                )
            moments = [m for m in self.moments if span.start < m <= span.end]
            period = Period(span.start, span.end)
            for metric, price in span.book.items():
                found = _at(moments, usage[i].get(metric), f"usage[{i}].{metric}")
                draft = self._usage_line(i, period, metric, price, found)
                if draft is not None:
                    yield draft

    def of_fees(self) -> Iterator[Draft]:
        """Base fee and seats of every span, by its part of the period."""
        for i, span in enumerate(self.terms.spans):
            yield from self._fees(i, span, span.seats, self.whole)

    def of_next_period(self) -> Iterator[Draft]:
        """Base fee and seats that are charged in advance."""
        advance = self.terms.advance
        if advance is not None:
            seats = () if advance.seats is None else (SeatCount(advance.start, advance.seats),)
            whole = advance.whole or Period(advance.start, advance.end)
            yield from self._fees(-1, advance, seats, whole)

    def commitments(self, drafts: Sequence[Draft], digits: int) -> Iterator[Draft]:
        """What lifts the charges of a span to its minimum, or cuts them to its maximum."""
        for i, span in enumerate(self.terms.spans):
            book = span.book
            if book.minimum is None and book.maximum is None:
                continue
            fees_count = book.rules["commitment"] == "all"
            due = sum(
                draft.amount - draft.discount
                for draft in drafts
                if draft.span == i and (fees_count or draft.kind != "base_fee")
            )
            least = self._commitment(book.minimum, span, digits)
            most = self._commitment(book.maximum, span, digits)
            if least is not None and due < least:
                yield self._commitment_line("minimum", i, least - due)
            elif most is not None and due > most:
                yield self._commitment_line("maximum", i, most - due)

    def plain_line(self, kind: LineKind, period: Period, plan: str | None) -> Draft:
        """A line without quantity or price of its own."""
        return Draft(kind, self._name(kind, plan), period, plan=plan)

    def _name(self, kind: str, plan: str | None) -> str:
        name = self.terms.names.get(kind) or _NAMES.get(kind, kind)
        return name if plan is None else f"{name} ({plan})"

    def _usage_line(
        self, i: int, period: Period, metric: str, price: Price, found: Sequence[Cumulative]
    ) -> Draft | None:
        last = found[-1]
        span = self.terms.spans[i]
        part = self._part(period, self.whole, span.book)
        if part is not _WHOLE:
            price = self._price_of_part(price, part, span.book)
        quantity = exact(last.quantity, metric)
        amount = price.amount(quantity)
        if not amount and self._hidden(quantity):
            return None
        name = self.terms.names.get(metric) or metric
        draft = Draft("usage", name, period, pico=pico_of(amount), span=i, metric=metric)
        self._price_into(draft, span)
        draft.quantity = quantity
        draft.unit = self.terms.units.get(metric, "")
        _explain(draft, price)
        if last.events or last.digest:
            draft.events = EventsRef(last.events, last.digest)
        if len(found) > 1:
            draft.accrued = _accrued(period.start, found, price)
        return draft

    def _hidden(self, quantity: Decimal) -> bool:
        shows = self.terms.rules.zero_lines
        return shows == "none" or (shows == "used" and not quantity)

    def _price_into(self, draft: Draft, span: Span | Advance) -> None:
        draft.plan = span.plan
        draft.book = span.book.name
        draft.version = span.book.version

    def _fees(
        self, i: int, span: Span | Advance, seats: Sequence[SeatCount], period: Period
    ) -> Iterator[Draft]:
        book = span.book
        own = Period(span.start, span.end)
        if book.base_fee:
            draft = Draft("base_fee", self._name("base_fee", span.plan), own, span=i)
            part = self._part(own, period, book)
            self._fee_into(draft, span, book.base_fee, part)
            yield draft
        if book.seats is None:
            return
        seats = seats or (SeatCount(span.start, 0),)
        ends = [*(count.since for count in seats[1:]), span.end]
        for count, end in zip(seats, ends, strict=True):
            amount = book.seats.amount(count.seats)
            if not amount and self._hidden(count.seats):
                continue
            own = Period(count.since, end)
            draft = Draft("seats", self._name("seats", span.plan), own, span=i)
            draft.quantity = count.seats
            _explain(draft, book.seats)
            draft.unit = "seat"
            self._fee_into(draft, span, amount, self._part(own, period, book))
            yield draft

    def _fee_into(
        self, draft: Draft, span: Span | Advance, amount: Decimal, part: tuple[int, int]
    ) -> None:
        self._price_into(draft, span)
        if part is _WHOLE:
            draft.pico = pico_of(amount)
            if draft.kind == "base_fee":
                draft.unit_price = amount
            return
        prorated = self._prorated(amount, part, span.book)
        draft.pico = pico_of(prorated)
        draft.unit_price = None
        share = self._prorated(_ONE, part, span.book)
        draft.tiers += (TierLine("prorated", None, share, amount, prorated),)

    def _prorated(self, amount: Decimal, part: tuple[int, int], book: PriceBook) -> Decimal:
        return _core.prorate(amount, part[0], part[1], self._digits(book))

    def _digits(self, book: PriceBook) -> int:
        """Digits to which the fraction of a period is rounded first; -1: not."""
        rules = self.terms.rules
        own = rules.proration != "book"
        return rules.proration_digits if own else int(book.rules["proration_digits"])

    def _part(self, part: Period, period: Period, book: PriceBook) -> tuple[int, int]:
        """How much of the period it is, as a fraction."""
        if part.start == period.start and part.end == period.end:
            return _WHOLE
        way = self.terms.rules.proration
        if way == "book":
            way = book.rules["proration"]  # type: ignore[assignment]
        if way == "none":
            return _WHOLE
        if way == "second":
            return (
                (part.end - part.start) // _MICROSECOND,
                (period.end - period.start) // _MICROSECOND,
            )
        both = way == "day_inclusive"
        used, whole = self._days(part, both), self._days(period, both)
        return (used, whole) if whole else _WHOLE

    def _days(self, period: Period, both_ends: bool) -> int:
        start, end = period.start, period.end
        if self.terms.time_zone != "UTC":
            zone = check_zone(self.terms.time_zone)
            start, end = start.astimezone(zone), end.astimezone(zone)
        return (end.date() - start.date()).days + both_ends

    def _price_of_part(self, price: Price, part: tuple[int, int], book: PriceBook) -> Price:
        """The price with its fee, and as the rules say its commitments and included units, cut to
        a part of the period."""
        rules = self.terms.rules
        names = ["base_fee"]
        names += ["minimum", "maximum"] if rules.prorate_commitments else []
        names += ["included"] if rules.prorate_included else []
        changed = tuple(name for name in names if getattr(price, name))
        if not changed:
            return price
        return _cut_price(price, part, self._digits(book), changed)

    def _commitment(self, amount: Decimal | None, span: Span, digits: int) -> int | None:
        if amount is None:
            return None
        part = self._part(Period(span.start, span.end), self.whole, span.book)
        if part is not _WHOLE and self.terms.rules.prorate_commitments:
            amount = self._prorated(amount, part, span.book)
        return rounded(pico_of(amount), PICO // 10**digits, self.terms.rules.rounding)

    def _commitment_line(self, kind: LineKind, i: int, amount: int) -> Draft:
        span = self.terms.spans[i]
        draft = self.plain_line(kind, Period(span.start, span.end), span.plan)
        self._price_into(draft, span)
        draft.amount = amount
        draft.span = i
        # It is known at the end only: it falls due with the last of the usage.
        inside = [m for m in self.moments if span.start < m < span.end]
        draft.accrued = ((inside[-1] if inside else span.start, 1),)
        return draft


_ONE: Final = Decimal(1)
_ZERO: Final = Decimal(0)


@lru_cache(maxsize=4096)
def _cut_price(price: Price, part: tuple[int, int], digits: int, names: tuple[str, ...]) -> Price:
    document = price.to_dict()
    for name in names:
        document[name] = _core.prorate(getattr(price, name), part[0], part[1], digits)
    return Price.from_dict(document)


def _at(
    moments: Sequence[datetime], found: Sequence[Cumulative] | None, field: str
) -> Sequence[Cumulative]:
    """The quantities at each of the moments; nothing given is no usage."""
    if found is None:
        return [Cumulative(moment, _ZERO) for moment in moments]
    if not isinstance(found, (list, tuple)):
        raise InvalidValue(field, f"expected a list of Cumulative, got {shown(found)}")
    if len(found) == len(moments) and all(
        one.until == moment for one, moment in zip(found, moments, strict=True)
    ):
        return found
    by_moment = {one.until: one for one in found}
    for moment in moments:
        if moment not in by_moment:
            raise InvalidValue(
                field, f"has no quantity until {moment}", remedy="see tenancy.billing.cuts"
            )
    return [by_moment[moment] for moment in moments]


def _accrued(
    start: datetime, found: Sequence[Cumulative], price: Price
) -> Sequence[tuple[datetime, int]]:
    """How much of the charge fell due from each moment until the next.

    A charge may fall again, under volume prices or with a maximum over time. Due before a moment
    is therefore the least that it comes to from then on, so that no part is below zero and the
    parts sum to the charge.
    """
    amounts = [pico_of(price.amount(one.quantity)) for one in found]
    for i in range(len(amounts) - 1, 0, -1):
        amounts[i - 1] = min(amounts[i - 1], amounts[i])
    before, moment, parts = 0, start, []
    for one, amount in zip(found, amounts, strict=True):
        parts.append((moment, max(amount, 0) - before))
        before, moment = max(amount, 0), one.until
    return parts


def _explain(draft: Draft, price: Price) -> None:
    """The unit price where there is one, else the rows of the explanation."""
    rows = price._explain(draft.quantity)
    if len(rows) == 1 and rows[0][0] == "usage" and rows[0][4] is None:
        draft.unit_price = rows[0][3]
    else:
        draft.tiers = tuple(
            TierLine(kind, tier, quantity, unit, amount)
            for kind, tier, quantity, unit, _, amount in rows
        )
