"""Credit notes give used credits back: to where they came from, as far as they were used."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoice_support import DAY, JANUARY, SELLER, TAX, go_to, make_buyer, open_billing
from tenancy import Tenancy
from tenancy.billing import Invoice, Part, credit_note, from_json, to_json
from tenancy.errors import BillingRefused, InvalidValue
from tenancy.testing import FakeClock

FEBRUARY = datetime(2026, 2, 1, tzinfo=timezone.utc)
AFTER_TAX = {"order": "minimum discount tax credit"}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(JANUARY)


@pytest.fixture
def t(tmp_path: Path, clock: FakeClock) -> Iterator[Tenancy]:
    with open_billing(tmp_path, clock) as opened:
        yield opened
        report = opened.billing.verify()
        assert report, report.problems
        for accounts in opened.billing.accounts().values():
            assert sum(accounts.values()) == 0


def left(t: Tenancy, tenant: Any) -> dict[str, Decimal]:
    return {one.name: one.left for one in t.billing.credits(tenant)}


def two_credits(t: Tenancy, clock: FakeClock, **usage: int) -> tuple[Any, Invoice]:
    """An invoice that `first` paid 4 of and then `second` 3."""
    acme = make_buyer(t)
    t.billing.credit(acme, 4, name="first", priority=1)
    t.billing.credit(acme, 3, name="second", priority=2)
    go_to(clock, FEBRUARY)
    return acme, t.billing.issue(acme, "2026-01", usage=usage)


def test_an_invoice_that_is_taken_back_gives_all_its_credits_back(
    t: Tenancy, clock: FakeClock
) -> None:
    acme, invoice = two_credits(t, clock)  # 10 - 7, and 20 %
    assert (invoice.bill.credit, invoice.bill.total) == (7, Decimal("3.6"))
    note = t.billing.credit_note(invoice.number, reason="Cancelled")
    assert (note.total, note.credit, note.lines[0].credit) == (Decimal("3.6"), 7, 7)
    assert left(t, acme) == {"first": 4, "second": 3}
    assert t.billing.open(invoice.number) == 0
    assert from_json(to_json(note)) == note
    accounts = t.billing.accounts()["EUR"]
    assert (accounts["revenue"], accounts["customer_credits"]) == (0, -7)
    with pytest.raises(BillingRefused, match="nothing is left"):
        t.billing.credit_note(invoice.number, reason="Again")


def test_a_part_gives_back_its_share_and_the_credit_used_last_comes_first(
    t: Tenancy, clock: FakeClock
) -> None:
    acme, invoice = two_credits(t, clock)
    first = t.billing.credit_note(invoice.number, [Part(0, 1)], reason="A third")
    assert first.credit == Decimal("2.33")
    assert left(t, acme) == {"first": 0, "second": Decimal("2.33")}
    second = t.billing.credit_note(invoice.number, [Part(0, 1)], reason="Another")
    assert left(t, acme) == {"first": Decimal("1.67"), "second": 3}
    rest = t.billing.credit_note(invoice.number, reason="The rest")
    assert first.credit + second.credit + rest.credit == invoice.bill.credit
    assert first.total + second.total + rest.total == invoice.bill.total
    assert left(t, acme) == {"first": 4, "second": 3}


def test_what_only_credits_paid_is_given_back_as_well(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t)
    t.billing.credit(acme, 50, name="Prepaid", paid=True)
    go_to(clock, FEBRUARY)
    invoice = t.billing.issue(acme, "2026-01", usage={"storage": 20})
    assert (invoice.bill.total, invoice.bill.credit) == (0, 12)
    note = t.billing.credit_note(invoice.number, [Part(0)], reason="Never used")
    assert (note.total, note.credit) == (0, 2)
    assert t.billing.credit_note(invoice.number, reason="Outage").credit == 10
    assert left(t, acme) == {"Prepaid": 50}


def test_credits_may_be_kept(t: Tenancy, clock: FakeClock) -> None:
    acme, invoice = two_credits(t, clock)
    note = t.billing.credit_note(invoice.number, reason="Goodwill", credits="keep")
    assert (note.credit, note.total) == (0, invoice.bill.total)
    assert left(t, acme) == {"first": 0, "second": 0}
    with pytest.raises(InvalidValue, match=r"credits.*return, keep"):
        t.billing.credit_note(invoice.number, reason="x", credits="give")  # type: ignore[arg-type]


def test_a_credit_that_has_expired_since_expires_with_the_next_invoice(
    t: Tenancy, clock: FakeClock
) -> None:
    acme = make_buyer(t)
    t.billing.credit(acme, 4, name="Promo", expires=JANUARY + 10 * DAY)
    go_to(clock, FEBRUARY)
    invoice = t.billing.issue(acme, "2026-01", usage={})
    t.billing.credit_note(invoice.number, reason="Cancelled")
    assert left(t, acme) == {"Promo": 4}
    go_to(clock, datetime(2026, 3, 1, tzinfo=timezone.utc))
    assert t.billing.issue(acme, "2026-02", usage={}).bill.credit == 0
    assert left(t, acme) == {"Promo": 0}
    assert t.billing.accounts()["EUR"]["expired_credits"] == -4


def test_credits_that_pay_after_tax_get_back_what_is_neither_open_nor_refunded(
    t: Tenancy, clock: FakeClock
) -> None:
    t.billing.configure(seller=SELLER, tax=TAX, rules=AFTER_TAX)
    acme, invoice = two_credits(t, clock)  # 12, of which 7 from credits
    assert (invoice.bill.total, invoice.bill.due) == (12, 5)
    t.billing.pay(invoice.number, 3)
    note = t.billing.credit_note(invoice.number, reason="Cancelled", refund=2)
    # 12 = 2 paid back + 2 that were open + 7 to credits + 1 that was paid and is a new credit
    assert note.credit == 0
    assert left(t, acme) == {"first": 4, "second": 3, "Credit note CN-2026-000001": 1}
    assert t.billing.open(invoice.number) == 0


def test_old_notes_have_no_credit_and_the_same_text(t: Tenancy, clock: FakeClock) -> None:
    """A member that has its default is left out, so digests of old documents stay."""
    _, invoice = two_credits(t, clock)
    note = credit_note(
        invoice, [Part(0, 1)], reason="Old", issued_at=FEBRUARY, credits="keep", number="CN-1"
    )
    assert "credit" not in to_json(note).replace('"credit_note"', "")
    rest = credit_note(invoice, earlier=[note], reason="New", issued_at=FEBRUARY, number="CN-2")
    assert rest.credit == invoice.bill.credit


@pytest.fixture(scope="module", params=[{}, AFTER_TAX], ids=["before tax", "after tax"])
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Tenancy, FakeClock]]:
    clock = FakeClock(JANUARY)
    with open_billing(tmp_path_factory.mktemp("shop"), clock) as t:
        t.billing.configure(seller=SELLER, tax=TAX, rules=request.param)
        yield t, clock
        report = t.billing.verify()
        assert report, report.problems


CENTS = st.integers(1, 1500).map(lambda cents: Decimal(cents).scaleb(-2))


@settings(max_examples=15, deadline=None)
@given(
    credits_=st.lists(CENTS, min_size=1, max_size=3),
    parts=st.lists(st.tuples(st.integers(0, 1), CENTS), max_size=5),
    paid=CENTS,
)
def test_never_more_goes_back_than_was_used(
    shop: tuple[Tenancy, FakeClock],
    credits_: list[Decimal],
    parts: list[tuple[int, Decimal]],
    paid: Decimal,
) -> None:
    """And all of it when all is taken back, however it was split."""
    t, clock = shop
    month = clock.now()
    tenant = make_buyer(t, f"s{month:%Y-%m}")
    for i, amount in enumerate(credits_):
        t.billing.credit(tenant, amount, name=f"c{i}", priority=i, starts=month)
    go_to(clock, (month + 31 * DAY).replace(day=1))
    invoice = t.billing.issue(tenant, month, usage={"storage": 33})
    if 0 < paid <= invoice.bill.due:
        t.billing.pay(invoice.number, paid)
    notes = []
    for line, amount in parts:
        try:
            notes.append(
                t.billing.credit_note(invoice.number, [Part(line, amount)], reason="Because")
            )
        except (BillingRefused, InvalidValue):
            continue
        found = t.billing.credits(tenant)
        assert all(one.left <= one.amount for one in found)
        used_last = [one for one in found if one.name.startswith("c")]
        for one, after in pairwise(used_last):
            # What is left of an earlier one, it got back only when the later ones were whole.
            before = invoice_use(invoice, one.id)
            if one.left > one.amount - before:
                assert after.left == after.amount
    try:
        notes.append(t.billing.credit_note(invoice.number, reason="All of it"))
    except BillingRefused:
        assert notes
    assert sum(note.total for note in notes) == invoice.bill.total
    own = [one for one in t.billing.credits(tenant) if one.name.startswith("c")]
    assert [one.left for one in own] == credits_
    if not invoice.bill.credit_after_tax:
        assert sum(note.credit for note in notes) == invoice.bill.credit
    accounts = t.billing.accounts(tenant)["EUR"]
    assert sum(accounts.values()) == 0
    assert (accounts["revenue"], accounts["tax"]) == (0, 0)


def invoice_use(invoice: Invoice, credit: str) -> Decimal:
    return sum((one.amount for one in invoice.bill.credits if one.id == credit), Decimal(0))
