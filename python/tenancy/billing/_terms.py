"""What a bill is computed from, apart from usage; `tenancy.billing` exports it."""

from __future__ import annotations

import itertools
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from .._text import check_text, shown
from ..errors import InvalidValue
from ..pricing import Number, PriceBook, minor_digits
from ._adjustments import Adjustment
from ._documents import Period
from ._numbers import assign, aware, exact, one_of, several
from ._offers import Credit, Discount
from ._rules import BillingRules, RulesLike
from ._tax import TaxRules, TaxStatus

__all__ = ["Advance", "Charged", "SeatCount", "Span", "Terms", "cuts"]


@dataclass(frozen=True, slots=True)
class SeatCount:
    """From `since` on there are so many seats."""

    since: datetime
    seats: Decimal

    def __init__(self, since: datetime, seats: Number) -> None:
        assign(self, since=aware(since, "seats.since"), seats=exact(seats, "seats", least=0))


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the period in which one plan and one price book hold.

    `seats` is a number, or the numbers over time; the first then counts from the start of the span.
    """

    start: datetime
    end: datetime
    book: PriceBook
    plan: str | None = None
    seats: tuple[SeatCount, ...] = ()

    def __init__(
        self,
        start: datetime,
        end: datetime,
        book: PriceBook,
        plan: str | None = None,
        seats: Number | Sequence[SeatCount] = (),
    ) -> None:
        start, end = _interval(start, end, "span")
        if not isinstance(book, PriceBook):
            raise InvalidValue("span.book", f"expected a PriceBook, got {type(book).__name__}")
        if not isinstance(seats, (list, tuple)):
            seats = [SeatCount(start, seats)]  # type: ignore[arg-type]  # it refuses what is none
        counts = several(seats, SeatCount, "span.seats")
        _check_seats(counts, start, end, book)
        assign(self, start=start, end=end, book=book, plan=plan, seats=counts)


@dataclass(frozen=True, slots=True)
class Advance:
    """The next period, whose base fee and seats are charged in advance on this bill."""

    start: datetime
    end: datetime
    book: PriceBook
    plan: str | None = None
    seats: Decimal | None = None
    whole: Period | None = None
    """The period that the fees are for, where only a part of it is charged."""

    def __init__(
        self,
        start: datetime,
        end: datetime,
        book: PriceBook,
        plan: str | None = None,
        seats: Number | None = None,
        whole: Period | None = None,
    ) -> None:
        start, end = _interval(start, end, "advance")
        number = None if seats is None else exact(seats, "advance.seats", least=0)
        whole = _whole(whole, Period(start, end), "advance.whole")
        assign(self, start=start, end=end, book=book, plan=plan, seats=number, whole=whole)


@dataclass(frozen=True, slots=True)
class Charged:
    """A fee of this period that an earlier bill charged in advance.

    Where the fees of its kind came to just as much, nothing is shown of them. Otherwise the bill
    states what they came to, and takes `amount` - `discount` off again in an adjustment.
    """

    kind: Literal["base_fee", "seats"]
    amount: Decimal
    discount: Decimal = Decimal(0)
    """What the earlier bill took off it."""
    plan: str | None = None

    def __init__(
        self,
        kind: Literal["base_fee", "seats"],
        amount: Number,
        discount: Number = 0,
        plan: str | None = None,
    ) -> None:
        one_of(kind, ("base_fee", "seats"), "charged.kind")
        number = exact(amount, "charged.amount", least=0)
        less = exact(discount, "charged.discount", least=0)
        if less > number:
            raise InvalidValue("charged.discount", f"{less:f} is more than the amount")
        assign(self, kind=kind, amount=number, discount=less, plan=plan)


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything that a bill depends on, besides usage.

    `spans` are in order and without gaps; the first may begin after the period does, and the last
    may end before it, when the subscription does. There may be none where only the next period is
    charged, or fees that were charged are taken off again, or adjustments are. Price books, credits
    and discounts have the bill's currency. Times are kept in UTC. Raises `InvalidValue` that names
    what is wrong.
    """

    tenant: str
    period: Period
    currency: str
    spans: tuple[Span, ...]
    whole: Period | None = None
    """The period that fees and commitments are for, where `period` is only a part of it."""
    advance: Advance | None = None
    charged: tuple[Charged, ...] = ()
    adjustments: tuple[Adjustment, ...] = ()
    discounts: tuple[Discount, ...] = ()
    credits: tuple[Credit, ...] = ()
    tax: TaxRules | None = None
    buyer: TaxStatus | None = None
    rules: BillingRules = field(default_factory=BillingRules)
    time_zone: str = "UTC"
    """Whose days are counted where fees are prorated by the day (IANA)."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What lines are called: by metric, or by kind of line (``base_fee``, ``seats``, …)."""
    units: Mapping[str, str] = field(default_factory=dict)
    """The unit of a metric, as the bill shows it."""

    def __init__(
        self,
        tenant: str,
        period: Period | tuple[datetime, datetime],
        currency: str,
        spans: Sequence[Span],
        *,
        whole: Period | None = None,
        advance: Advance | None = None,
        charged: Sequence[Charged] = (),
        adjustments: Sequence[Adjustment] = (),
        discounts: Sequence[Discount] = (),
        credits: Sequence[Credit] = (),  # noqa: A002 - what they are
        tax: TaxRules | None = None,
        buyer: TaxStatus | None = None,
        rules: RulesLike = "default",
        time_zone: str = "UTC",
        names: Mapping[str, str] | None = None,
        units: Mapping[str, str] | None = None,
    ) -> None:
        check_text(tenant, "tenant", 255)
        minor_digits(currency)
        period = _period(period)
        spans = several(spans, Span, "spans")
        adjustments = several(adjustments, Adjustment, "adjustments")
        charged = several(charged, Charged, "charged")
        discounts = several(discounts, Discount, "discounts")
        credits_ = several(credits, Credit, "credits")
        _check_types(advance=(advance, Advance), tax=(tax, TaxRules), buyer=(buyer, TaxStatus))
        others = advance is not None or bool(charged) or bool(adjustments)
        _check_spans(spans, period, currency, others)
        if advance is not None:
            _check_currency(advance.book.currency, currency, "advance.book")
        _check_offers("discounts", discounts, currency)
        _check_offers("credits", credits_, currency)
        if tax is not None and buyer is None:
            raise InvalidValue("buyer", "is missing", remedy="tax depends on where the buyer is")
        if time_zone != "UTC":
            check_zone(time_zone)
        assign(
            self,
            tenant=tenant,
            period=period,
            currency=currency,
            spans=spans,
            whole=_whole(whole, period, "whole"),
            advance=advance,
            charged=charged,
            adjustments=adjustments,
            discounts=discounts,
            credits=credits_,
            tax=tax,
            buyer=buyer,
            rules=BillingRules.of(rules),
            time_zone=time_zone,
            names=_texts(names, "names"),
            units=_texts(units, "units"),
        )


def cuts(terms: Terms) -> tuple[datetime, ...]:
    """The moments at which `compute` needs the quantities of usage, in order.

    The ends of the spans, and, where credits are judged at usage time, the moments inside them at
    which a credit begins or expires. For a span the ones behind its start and up to its end count.
    """
    found = {span.end for span in terms.spans}
    if terms.spans and terms.rules.credit_when == "usage":
        first, last = terms.spans[0].start, terms.spans[-1].end
        for credit in terms.credits:
            for moment in (credit.starts, credit.expires):
                if moment is not None and first < moment < last:
                    found.add(moment)
    return tuple(sorted(found))


def check_zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidValue("time_zone", f"{shown(name)} is not a time zone of IANA") from None


def _interval(start: datetime, end: datetime, owner: str) -> tuple[datetime, datetime]:
    start, end = aware(start, f"{owner}.start"), aware(end, f"{owner}.end")
    if end <= start:
        raise InvalidValue(f"{owner}.end", f"{end} is not after the start, {start}")
    return start, end


def _whole(whole: Period | None, part: Period, owner: str) -> Period | None:
    """The period of which `part` is one; None: itself."""
    if whole is None:
        return None
    found = Period(*_interval(whole.start, whole.end, owner))
    if not found.start <= part.start < part.end <= found.end:
        raise InvalidValue(owner, f"{found.start} to {found.end} does not hold {part.start}")
    return None if found == part else found


def _period(period: Period | tuple[datetime, datetime]) -> Period:
    if isinstance(period, tuple) and len(period) == 2:
        period = Period(*period)
    if not isinstance(period, Period):
        raise InvalidValue("period", f"expected a Period or (start, end), got {shown(period)}")
    return Period(*_interval(period.start, period.end, "period"))


def _check_types(**members: tuple[object, type]) -> None:
    """Each is None or of its type."""
    for name, (value, kind) in members.items():
        if value is not None and not isinstance(value, kind):
            raise InvalidValue(name, f"expected {kind.__name__}, got {shown(value)}")


def _texts(texts: Mapping[str, str] | None, name: str) -> Mapping[str, str]:
    if texts is None:
        return {}
    if not isinstance(texts, Mapping):
        raise InvalidValue(name, f"expected a mapping of texts, got {shown(texts)}")
    for key, text in texts.items():
        if not isinstance(text, str):
            raise InvalidValue(f"{name}[{shown(key)}]", f"expected text, got {shown(text)}")
    return texts


def _check_currency(found: str, expected: str, name: str) -> None:
    if found != expected:
        raise InvalidValue(
            name, f"is in {found}, the bill in {expected}", remedy="one bill has one currency"
        )


def _check_spans(spans: Sequence[Span], period: Period, currency: str, other_charges: bool) -> None:
    if not spans and not other_charges:
        raise InvalidValue("spans", "expected at least one")
    before: Span | None = None
    for i, span in enumerate(spans):
        name = f"spans[{i}]"
        _check_currency(span.book.currency, currency, f"{name}.book")
        if span.start < period.start or span.end > period.end:
            raise InvalidValue(name, f"{span.start} to {span.end} is not within the period")
        if before is not None and span.start != before.end:
            what = "overlaps the one before" if span.start < before.end else "leaves a gap"
            raise InvalidValue(name, f"{what}: it starts at {span.start}, not at {before.end}")
        before = span


def _check_seats(
    seats: Sequence[SeatCount], start: datetime, end: datetime, book: PriceBook
) -> None:
    if not seats:
        return
    if book.seats is None:
        raise InvalidValue("span.seats", f"price book {book.name} has no price for seats")
    if seats[0].since != start:
        raise InvalidValue("span.seats", "the first number counts from the start of the span")
    for one, after in itertools.pairwise(seats):
        if not one.since < after.since < end:
            raise InvalidValue("span.seats", f"{after.since} is out of order, or past the span")


def _check_offers(kind: str, offers: Sequence[Discount | Credit], currency: str) -> None:
    seen: set[str] = set()
    for i, offer in enumerate(offers):
        if offer.currency is not None:
            _check_currency(offer.currency, currency, f"{kind}[{i}]")
        if offer.id in seen:
            raise InvalidValue(f"{kind}[{i}]", f"the id {shown(offer.id)} is there twice")
        seen.add(offer.id)
