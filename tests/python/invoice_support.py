"""A shop that bills, for the tests of invoices: catalog, seller, buyers, and a meter of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

from tenancy import Catalog, Tenancy
from tenancy.billing import Cumulative, Party, TaxRate, TaxRules
from tenancy.testing import FakeClock

JANUARY = datetime(2026, 1, 1, tzinfo=timezone.utc)
DAY = timedelta(days=1)
DAY_S = 86_400

CATALOG: dict[str, Any] = {
    "catalog": "shop",
    "version": "1",
    "format": 1,
    "default_plan": "team",
    "currency": "EUR",
    "plans": {
        "free": {"price": 0},
        "team": {"price_book": "team"},
        "big": {"price_book": "big"},
        "flat": {"price": 29},
        "abroad": {"price_book": "dollars"},
        "contract": {"price": "custom"},
    },
    "price_books": {
        "team": {
            "base_fee": 10,
            "metrics": {
                "calls": {"tiers": [{"up_to": 1000, "unit": "0.01"}, {"unit": "0.005"}]},
                "storage": "0.1",
            },
        },
        "big": {"base_fee": 100, "seats": {"unit": 5}, "metrics": {"calls": "0.002"}},
        "dollars": {"currency": "USD", "base_fee": 20, "metrics": {"calls": "0.02"}},
    },
}

SELLER = Party("Shop AG", "AT", tax_id="ATU12345678")
TAX = TaxRules("AT", [TaxRate("AT", 20, "USt"), TaxRate("DE", 19, "USt")])
BUYER = Party("Acme GmbH", "AT", street="Ring 1", city="Wien", postcode="1010")


class Meter:
    """Usage in memory: sums of what was used when. Answers as `Tenancy.usage` does."""

    def __init__(self) -> None:
        self.events: dict[tuple[str, str], list[tuple[datetime, Decimal]]] = defaultdict(list)
        self.asked = 0

    def use(self, tenant: Any, metric: str, quantity: int | str, when: datetime) -> None:
        self.events[getattr(tenant, "id", tenant), metric].append((when, Decimal(quantity)))

    def quantities(
        self,
        tenant: str,
        *,
        since: datetime,
        cuts: Sequence[datetime],
        metrics: Sequence[str] | None = None,
    ) -> Mapping[str, tuple[Cumulative, ...]]:
        assert metrics is not None
        self.asked += 1
        found = {}
        for metric in metrics:
            events = [one for one in self.events[tenant, metric] if since <= one[0]]
            parts = [[quantity for when, quantity in events if when < cut] for cut in cuts]
            found[metric] = tuple(
                Cumulative(cut, sum(part, Decimal(0)), len(part))
                for cut, part in zip(cuts, parts, strict=True)
            )
        return found


def open_billing(
    directory: Path, clock: FakeClock | None = None, *, catalog: Any = CATALOG, **options: Any
) -> Tenancy:
    """A Tenancy on `directory/data` that has a seller."""
    chosen = None if catalog is None else Catalog.from_dict(catalog)
    t = Tenancy.open(directory / "data", catalog=chosen, clock=clock or FakeClock(), **options)
    if catalog is not None:
        t.billing.configure(seller=SELLER, tax=TAX)
    return t


def make_buyer(
    t: Tenancy,
    slug: str = "acme",
    *,
    plan: str = "team",
    currency: str = "EUR",
    party: Party = BUYER,
    **more: Any,
) -> Any:
    """A tenant with an account; its months are those of the calendar."""
    tenant = t.tenants.create(slug.title(), slug=slug, plan=plan, anchor=JANUARY, **more)
    t.billing.account(tenant, party=party, currency=currency)
    return tenant


def go_to(clock: FakeClock, when: datetime) -> None:
    clock.advance((when - clock.now()).total_seconds())
