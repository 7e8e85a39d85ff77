"""From what the store knows of a tenant to the terms of a bill. Pure: the same of the same rows.

What counts: of two facts for one time the one recorded later; for the currency and the price book
of a plan the start of the period; for tax, the seller's settings and the discounts its end. Time in
a status that is not billed is free.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

from .._text import to_datetime
from ..billing import Adjustment, Credit, Discount, EventsRef, Period, SeatCount, Span, Terms
from ..errors import BillingRefused
from ..pricing import PriceBook
from ..stores.billing_rows import Fact, TenantRows
from ._config import Account, Settings
from ._money import minus
from ._periods import Calendar, find
from ._prices import Books, PlanPrices

__all__ = [
    "Timeline",
    "calendar_of",
    "left_of",
    "make_terms",
    "open_period",
    "pending",
    "settings_at",
]

T = TypeVar("T")
History = list[tuple[int, T]]

_ACCOUNT_REMEDY = 'billing.account(tenant, party=Party("Acme GmbH", "DE"), currency="EUR")'


@dataclass(frozen=True)
class Timeline:
    """What held for one tenant when."""

    tenant: str
    plans: History[str]
    statuses: History[str]
    calendar: Calendar
    accounts: History[Account]
    books: History[str | None]
    """Digests of books of its own; None: its plan's again."""
    seats: History[Decimal]
    seller: tuple[Fact, ...]

    @classmethod
    def of(cls, rows: TenantRows) -> Timeline:
        """Raises `BillingRefused` when there is no account."""
        found: dict[str, History[Any]] = {
            kind: [] for kind in ("plan", "status", "calendar", "account", "book", "seats")
        }
        for kind, fact_ns, text in rows.facts:
            value = json.loads(text)
            since_ns = _micro(fact_ns)
            if kind == "created":
                found["plan"].append((since_ns, value["plan"]))
                found["status"].append((since_ns, value["status"]))
                found["calendar"].append((since_ns, value))
            elif kind in ("plan", "status"):
                found[kind].append((since_ns, value[kind]))
            elif kind in found:
                found[kind].append((since_ns, value))
        if not found["account"]:
            raise BillingRefused(
                f"tenant {rows.tenant_id} has no account",
                tenant=rows.tenant_id,
                remedy=_ACCOUNT_REMEDY,
            )
        return cls(
            tenant=rows.tenant_id,
            plans=found["plan"],
            statuses=found["status"],
            calendar=_calendar(found["calendar"]),
            accounts=[(at, Account.from_value(value)) for at, value in found["account"]],
            books=[(at, value["book"]) for at, value in found["book"]],
            seats=[(at, Decimal(value["seats"])) for at, value in found["seats"]],
            seller=rows.seller,
        )

    @property
    def begin_ns(self) -> int:
        """When its billing begins."""
        return min(since_ns for since_ns, _ in self.accounts)

    def settings_at(self, moment_ns: int) -> Settings:
        return settings_at(self.seller, moment_ns)

    def account_at(self, moment_ns: int) -> Account:
        return _at(self.accounts, moment_ns)


def settings_at(seller: Sequence[Fact], moment_ns: int) -> Settings:
    """What held at the seller's side. Raises `BillingRefused` when nothing ever did."""
    if not seller:
        remedy = 'billing.configure(seller=Party("Shop AG", "AT"))'
        raise BillingRefused("nobody is configured who sells", remedy=remedy)
    return _settings(_at([(fact.since_ns, fact.value) for fact in seller], moment_ns))


def calendar_of(rows: TenantRows) -> tuple[Calendar, int]:
    """The calendar of a tenant, and when it was made."""
    found = [
        (_micro(fact.since_ns), json.loads(fact.value))
        for fact in rows.facts
        if fact.kind in ("created", "calendar")
    ]
    if not found:
        raise BillingRefused(f"nothing is known of tenant {rows.tenant_id}")
    return _calendar(found), found[0][0]


def open_period(rows: TenantRows, now_ns: int) -> tuple[int, int]:
    """The period of a tenant that holds now, whether it is billed or not."""
    calendar, created_ns = calendar_of(rows)
    return find(calendar, created_ns, _moment(max(now_ns, created_ns)))


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
    currency = timeline.account_at(start_ns).currency
    settings = timeline.settings_at(end_ns - 1)
    spans = list(_spans(timeline, span, settings.billed, currency, prices, books))
    adjustments = [one for found in pending(rows, currency) for one in _adjustments(found)]
    if not spans and not adjustments:
        return None
    return Terms(
        rows.tenant_id,
        Period(_moment(start_ns), _moment(end_ns)),
        currency,
        spans,
        adjustments=adjustments,
        discounts=_discounts(rows, end_ns),
        credits=_credits(rows, currency, end_ns),
        tax=settings.tax,
        buyer=timeline.account_at(end_ns - 1).tax_status,
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
    return left


def pending(rows: TenantRows, currency: str) -> list[Mapping[str, Any]]:
    """Adjustments that no bill has yet, of one currency."""
    billed = {use.ref for use in rows.uses if use.kind == "adjustment"}
    found = [json.loads(fact.value) for fact in rows.facts if fact.kind == "adjustment"]
    return [one for one in found if one["id"] not in billed and one["currency"] == currency]


def _adjustments(value: Mapping[str, Any]) -> list[Adjustment]:
    period = Period(_moment(value["start_ns"]), _moment(value["end_ns"]))
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
    parts: list[tuple[int, int, str, str | None]] = []  # start, end, plan, digest of its book
    for part, until in _pairs(sorted(bounds)):
        plan = _at(timeline.plans, part)
        own = _begun_at(timeline.books, part, None)
        digest: str | None = ""
        if _at(timeline.statuses, part) in billed and part >= timeline.plans[0][0]:
            digest = own if own is not None else prices.digest(plan, start_ns)
        if parts and parts[-1][2:] == (plan, digest):
            parts[-1] = (parts[-1][0], until, plan, digest)
        else:
            parts.append((part, until, plan, digest))
    paid = [i for i, part in enumerate(parts) if part[3]]
    for part, until, plan, digest in parts[paid[0] : paid[-1] + 1] if paid else ():
        book = books.get(digest, plan) if digest else books.free(currency)
        yield Span(_moment(part), _moment(until), book, plan, _seats(timeline, book, part, until))


def _seats(timeline: Timeline, book: PriceBook, start_ns: int, end_ns: int) -> list[SeatCount]:
    if book.seats is None or not timeline.seats:
        return []
    counts = [SeatCount(_moment(start_ns), _begun_at(timeline.seats, start_ns, Decimal(0)))]
    later = {at: seats for at, seats in timeline.seats if start_ns < at < end_ns}
    counts += [SeatCount(_moment(at), seats) for at, seats in sorted(later.items())]
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
                starts=_moment(redemption.since_ns),
                ends=None if ends_ns is None else _moment(ends_ns),
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
            starts=_moment(credit.since_ns) if credit.since_ns else None,
            expires=None if credit.expires_ns is None else _moment(credit.expires_ns),
        )
        for credit in rows.credits
        if credit.currency == currency and left[credit.id] > 0 and credit.since_ns < end_ns
    ]


def _calendar(changes: History[Mapping[str, Any]]) -> Calendar:
    found: list[tuple[int, int, str | None]] = []
    for since_ns, value in changes:
        anchor_ns, zone = found[-1][1:] if found else (0, None)
        anchor_ns = value.get("anchor_ns", anchor_ns) or 0
        found.append((since_ns, anchor_ns, value.get("time_zone", zone)))
    return Calendar(found)


@lru_cache(maxsize=64)
def _coupon(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(text)
    return found


@lru_cache(maxsize=64)
def _settings(text: str) -> Settings:
    return Settings.from_value(json.loads(text))


def _at(history: History[T], moment_ns: int) -> T:
    """What holds at a time; before everything, what came first."""
    found = history[0][1]
    for since_ns, value in history:
        if since_ns > moment_ns:
            break
        found = value
    return found


def _begun_at(history: History[T], moment_ns: int, before: T) -> T:
    """What holds at a time, and what held before everything."""
    return _at([(-1 << 63, before), *history], moment_ns)


def _pairs(bounds: list[int]) -> Iterable[tuple[int, int]]:
    return pairwise(bounds)


def _micro(wall_ns: int) -> int:
    """Datetimes have microseconds, so that is what periods are made of."""
    return wall_ns - wall_ns % 1000


@lru_cache(maxsize=4096)
def _moment(wall_ns: int) -> datetime:
    moment = to_datetime(wall_ns)
    assert moment is not None
    return moment
