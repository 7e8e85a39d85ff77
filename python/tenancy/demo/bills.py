"""An hour of real requests to two language models, metered, priced twice and invoiced.

Two tenants use the same: one pays by graduated prices, the other by their twin by volume. The month
is November 2023, when the trace was recorded, so the clock here is one that can be set.
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

from .. import Catalog, Tenancy
from ..billing import Party
from ..pricing import PriceBook, round_money
from ..testing import FakeClock
from .trace import hour_file

__all__ = ["METRICS", "Billed", "bill_the_hour"]

METRICS = ("context_tokens", "generated_tokens")
PERIOD = "2023-11"
_BEGIN = datetime(2023, 11, 1, tzinfo=timezone.utc)
_TRACED = datetime(2023, 11, 16, 20, tzinfo=timezone.utc)
_ISSUED = datetime(2023, 12, 4, 9, tzinfo=timezone.utc)  # late usage was waited for until then
_CATALOG = """
catalog: llm-hour
version: "1"
format: 1
default_plan: graduated
currency: USD
plans:
  graduated: {price_book: llm-tokens}
  volume: {price_book: llm-tokens-volume}
"""


@dataclass(frozen=True)
class Billed:
    """One tenant's month."""

    tenant: str
    plan: str
    number: str
    events: int
    used: Mapping[str, Decimal]
    amounts: Mapping[str, Decimal]
    """By metric, as the invoice states them."""
    total: Decimal
    currency: str
    metered: bool
    """What was metered is what the trace holds, and the same file again added nothing."""
    priced: bool
    """The invoice states what the price book says of the trace's tokens."""
    verified: bool
    """The invoice, computed again from its facts, is the same, and log and ledger agree."""

    @property
    def ok(self) -> bool:
        return self.metered and self.priced and self.verified


def bill_the_hour(path: Path) -> list[Billed]:
    """Meter, price and invoice the hour in a data directory of its own at `path`."""
    clock = FakeClock(_BEGIN)
    with Tenancy.open(path, Catalog.from_text(_CATALOG), clock=clock) as t:
        t.billing.configure(seller=Party("Relay Inc.", "US"))
        for plan in t.catalog.plans:
            tenant = t.tenants.create(f"Lagoon ({plan})", slug=f"lagoon-{plan}", plan=plan)
            t.billing.account(tenant, party=Party(f"Lagoon ({plan})", "US"), currency="USD")
        clock.advance((_TRACED - _BEGIN).total_seconds())
        events = {slug: _meter(t, slug) for slug in _slugs(t)}
        clock.advance((_ISSUED - _TRACED).total_seconds())
        report = t.billing.issue_all(PERIOD)
        verified = bool(report) and bool(t.billing.verify())
        return [_billed(t, slug, *events[slug], verified) for slug in _slugs(t)]


def _slugs(t: Tenancy) -> list[str]:
    return [f"lagoon-{plan}" for plan in t.catalog.plans]


def _meter(t: Tenancy, slug: str) -> tuple[int, bool]:
    """How many events there are; whether the same file again is all duplicates."""
    columns = {metric: metric for metric in METRICS}
    first, again = (
        t.usage.import_(hour_file(), tenant=slug, quantities=columns, properties=["service"])
        for _ in range(2)
    )
    return first.recorded, (again.recorded, again.duplicates) == (0, first.recorded)


def _billed(t: Tenancy, slug: str, events: int, once: bool, verified: bool) -> Billed:
    (row,) = t.billing.invoices(slug)
    invoice = t.billing.invoice(row.number)
    tenant = t.tenants.by_slug(slug)
    assert tenant is not None
    lines = {line.metric: line for line in invoice.bill.lines if line.kind == "usage"}
    used = {metric: lines[metric].quantity for metric in METRICS}
    amounts = {metric: lines[metric].amount for metric in METRICS}
    traced = _traced()
    book = PriceBook.of_plan(t.catalog, tenant.plan)
    due = {metric: round_money(book[metric].amount(traced[metric]), "USD") for metric in METRICS}
    return Billed(
        tenant=tenant.name,
        plan=tenant.plan,
        number=invoice.number,
        events=events,
        used=used,
        amounts=amounts,
        total=invoice.bill.total,
        currency=invoice.bill.currency,
        metered=once and used == traced,
        priced=amounts == due and invoice.bill.total == sum(due.values()),
        verified=verified,
    )


def _traced() -> dict[str, int]:
    """The sums of the trace, counted by nothing but this loop."""
    sums: Counter[str] = Counter()
    with gzip.open(hour_file(), "rt", encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            for metric in METRICS:
                sums[metric] += int(row[metric])
    return dict(sums)
