"""A year of a shop: many tenants whose plans, statuses, seats and prices change, with credits,
coupons, late usage, payments, credit notes and refunds. Then everything is computed again."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from contextlib import suppress
from datetime import datetime, timezone
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from invoice_support import CATALOG, DAY, JANUARY, make_buyer, open_billing
from tenancy import Catalog, Tenancy
from tenancy.billing import Bill, CreditNote, Invoice, Part
from tenancy.errors import (
    BillingRefused,
    IllegalTransition,
    InvalidValue,
    UnknownUsageEvent,
)
from tenancy.testing import FakeClock

NEXT_YEAR = datetime(2027, 1, 1, tzinfo=timezone.utc)
PLANS = ("free", "team", "big", "flat")
FEES = ("team", "big", "flat")
BILLED = ("active", "suspended")
METRICS = ("calls", "storage")


class Year:
    """What happens to a shop, drawn at random, and a diary that is kept beside it by the day."""

    def __init__(self, t: Tenancy, clock: FakeClock, tenants: int, seed: int) -> None:
        self.t, self.clock, self.random = t, clock, random.Random(seed)
        self.events = 0
        self.tenants = [
            make_buyer(t, f"t{i}", plan=self.random.choice(PLANS)) for i in range(tenants)
        ]
        self.diary: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.cash: dict[str, Decimal] = defaultdict(Decimal)
        t.billing.coupon("HALF", percent=50, periods=3, cap=40, currency="EUR")
        t.billing.coupon("FIVE", amount=5, currency="EUR", ends=JANUARY + 200 * DAY)

    def run(self) -> None:
        month = 1
        while self.clock.now() < NEXT_YEAR:
            self.t.process_due()
            for tenant in self.tenants:
                self.day_of(tenant.id)
                record = self.t.tenants.get(tenant)
                self.diary[tenant.id].append((record.plan, record.status))
            self.clock.advance(86_400)
            now = self.clock.now()
            if now.month != month:
                before, month = now - DAY, now.month
                for tenant in self.random.sample(self.tenants, len(self.tenants) // 3):
                    # Nothing to bill; or the month before has an adjustment by now, and goes first.
                    with suppress(BillingRefused):
                        self.t.billing.issue(tenant, before)
            if now.day == 4:  # no late events come any more
                assert not self.t.billing.issue_all(batch=self.random.randrange(1, 9)).waiting
                self.late()
                self.correct()

    def day_of(self, tenant: str) -> None:
        """Before noon something may change, then something is used."""
        dice = self.random.random()
        billing, tenants = self.t.billing, self.t.tenants
        try:
            if dice < 0.02:
                tenants.change_plan(tenant, self.random.choice(PLANS))
            elif dice < 0.03:
                tenants.change_plan(tenant, self.random.choice(PLANS), at="period_end")
            elif dice < 0.035:
                tenants.suspend(tenant)
            elif dice < 0.04:
                tenants.churn(tenant)
            elif dice < 0.06:
                tenants.resume(tenant)
            elif dice < 0.07:
                billing.seats(tenant, self.random.randrange(6))
            elif dice < 0.08:
                self.credit(tenant)
            elif dice < 0.085:
                billing.redeem(tenant, self.random.choice(["HALF", "FIVE"]))
        except (BillingRefused, IllegalTransition):
            pass  # redeemed before, or no such step from here
        if self.random.random() < 0.3:
            quantity = f"{self.random.randrange(1, 50_000)}.{self.random.randrange(100)}"
            self.use(tenant, quantity)

    def use(self, tenant: str, quantity: str, **more: Any) -> None:
        self.events += 1
        metric = self.random.choice(METRICS)
        self.t.usage.record(tenant, metric, quantity, id=f"e{self.events}", **more)

    def credit(self, tenant: str) -> None:
        amount = Decimal(self.random.randrange(1, 20_000)).scaleb(-2)
        expires = None
        if self.random.random() < 0.5:
            expires = self.clock.now() + self.random.randrange(1, 90) * DAY
        paid = self.random.random() < 0.5
        priority = self.random.randrange(3)
        self.t.billing.credit(tenant, amount, expires=expires, priority=priority, paid=paid)
        self.cash[tenant] += amount if paid else 0

    def invoices(self, newest: int = 0) -> list[Invoice]:
        """All, or so many of the newest."""
        rows = [row for row in self.t.billing.every() if row.kind == "invoice"]
        return [self.t.billing.invoice(row.number) for row in rows[-newest:]]

    def late(self) -> None:
        """Usage of the month before that comes only now, or is taken back."""
        for invoice in self.invoices(len(self.tenants)):
            period = invoice.bill.period
            if self.random.random() < 0.2:
                # A first invoice, of fees in advance, is of a period that has not ended yet.
                passed = max(1, min(20, (self.clock.now() - period.start) // DAY))
                when = period.start + self.random.randrange(passed) * DAY
                self.use(invoice.tenant, "4321.5", time=when, backfill=True)
            if self.random.random() < 0.2:
                found = self.t.usage.events(invoice.tenant, None, period.start, period.end)
                if found:
                    event = self.random.choice(found)
                    with suppress(UnknownUsageEvent):  # its id is not remembered any more
                        self.t.usage.cancel(invoice.tenant, event.id, backfill=True)
            if self.random.random() < 0.7:
                self.t.billing.adjust(invoice.number)

    def correct(self) -> None:
        for invoice in self.invoices(2 * len(self.tenants)):
            dice = self.random.random()
            try:
                if dice < 0.5:
                    part = self.random.choice([None, Decimal("0.5")])
                    self.cash[invoice.tenant] += self.t.billing.pay(invoice.number, part).amount
                elif dice < 0.6:
                    parts = [Part(self.random.randrange(len(invoice.bill.lines)))]
                    refund = self.random.choice([0, "0.25"])
                    note = self.t.billing.credit_note(
                        invoice.number, parts, reason="Goodwill", refund=refund
                    )
                    if note.refund and self.random.random() < 0.5:
                        self.cash[invoice.tenant] -= self.t.billing.pay(note.number).amount
            except (BillingRefused, InvalidValue):
                pass  # nothing is open, nothing is left

    def expected_fees(self, tenant: str, bill: Bill) -> list[tuple[str, datetime, datetime]]:
        """From the diary: the stretches of days with a plan that has a fee, while it was billed."""
        first = (bill.period.start - JANUARY).days
        days = self.diary[tenant][first : (bill.period.end - JANUARY).days]
        found = []
        place = bill.period.start
        for (plan, status), run in groupby(days, key=lambda day: (day[0], day[1] in BILLED)):
            length = len(list(run)) * DAY
            if status and plan in FEES:
                found.append((plan, place, place + length))
            place += length
        return found


ADVANCE = {"fees": "in_advance", "price_changes": "at_once"}


@pytest.mark.parametrize(
    ("tenants", "billing"),
    [
        (4, {}),
        pytest.param(40, {}, marks=pytest.mark.slow),
        pytest.param(6, ADVANCE, marks=pytest.mark.slow),
    ],
    ids=["few", "many", "in advance"],
)
def test_a_year_is_computed_again_from_its_facts(
    tmp_path: Path, tenants: int, billing: dict[str, str]
) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    clock = FakeClock(JANUARY)
    catalog = {**CATALOG, "billing": billing}
    with open_billing(tmp_path, clock, catalog=catalog) as t:
        year = Year(t, clock, tenants, seed)
        dearer = json.loads(json.dumps(catalog))
        dearer["price_books"]["team"]["base_fee"] = 12
        t.reload_catalog(Catalog.from_dict(dearer))
        year.run()
        invoices = year.invoices()
        assert len(invoices) > 4 * tenants
        for invoice in invoices if not billing else ():
            fees = [
                (line.plan, line.period.start, line.period.end)
                for line in invoice.bill.lines
                if line.kind == "base_fee"
            ]
            assert fees == year.expected_fees(invoice.tenant, invoice.bill)
    # Everything again, by a process that knows nothing but the store.
    with open_billing(tmp_path, clock, catalog=None) as t:
        report = t.billing.verify()
        assert report, report.problems
        assert report.recomputed == len(invoices)
        for invoice in invoices:
            assert t.billing.recompute(invoice.number) == invoice.bill
        check_books(t, year)


def check_books(t: Tenancy, year: Year) -> None:
    """The ledger against the documents, one by one."""
    documents = [t.billing.document(row.number) for row in t.billing.every()]
    numbers: dict[str, list[str]] = defaultdict(list)
    for document in documents:
        numbers[document.number[:-6]].append(document.number[-6:])
    for series in numbers.values():
        assert series == [f"{i + 1:06d}" for i in range(len(series))]
    assert sum(t.billing.accounts()["EUR"].values()) == 0
    for tenant in year.tenants:
        own: list[Any] = [one for one in documents if one.tenant == tenant.id]
        bills = [one.bill for one in own if isinstance(one, Invoice)]
        notes = [one for one in own if isinstance(one, CreditNote)]
        accounts = t.billing.accounts(tenant).get("EUR")
        if accounts is None:
            assert not own
            continue
        assert accounts["cash"] == year.cash[tenant.id]
        left = sum(one.left for one in t.billing.credits(tenant))
        assert -accounts["customer_credits"] == left
        assert accounts["tax"] == sum(note.tax for note in notes) - sum(bill.tax for bill in bills)
        open_ = [t.billing.open(one.number) for one in own if isinstance(one, Invoice)]
        assert accounts["receivable"] == sum(open_)
        refunds = [t.billing.open(note.number) for note in notes]
        assert -accounts["refunds"] == sum(refunds)
        sold = sum(bill.total for bill in bills) - sum(note.total for note in notes)
        # These rules take credits before tax; notes give them back.
        before_tax = sum(bill.credit for bill in bills) - sum(note.credit for note in notes)
        assert -accounts["revenue"] - accounts["tax"] == sold + before_tax
