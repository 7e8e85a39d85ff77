"""What comes after an invoice: credits, coupons, credit notes, refunds, payments, late usage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from invoice_support import DAY, JANUARY, Meter, go_to, make_buyer, open_billing
from tenancy import Tenancy
from tenancy.billing import Part
from tenancy.errors import (
    AlreadyExists,
    BillingRefused,
    Conflict,
    InvalidValue,
    NotFound,
    UnknownDocument,
)
from tenancy.testing import FakeClock

FEBRUARY = datetime(2026, 2, 1, tzinfo=timezone.utc)
MARCH = datetime(2026, 3, 1, tzinfo=timezone.utc)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(JANUARY)


@pytest.fixture
def t(tmp_path: Path, clock: FakeClock) -> Iterator[Tenancy]:
    with open_billing(tmp_path, clock) as opened:
        yield opened


# ------------------------------------------------------------------------------ credits


def test_a_credit_pays_what_was_used_before_it_expired(t: Tenancy, clock: FakeClock) -> None:
    """Trap 22: it had expired when the invoice was made, and pays all the same."""
    acme = make_buyer(t)
    meter = Meter()
    meter.use(acme, "storage", 30, JANUARY + 3 * DAY)  # 3.00 before
    meter.use(acme, "storage", 50, JANUARY + 20 * DAY)  # 5.00 after
    t.billing.credit(acme, 20, name="Welcome", expires=JANUARY + 15 * DAY)
    go_to(clock, FEBRUARY + 10 * DAY)
    bill = t.billing.issue(acme, "2026-01", usage=meter).bill
    assert bill.credit == 13  # of storage 3, of the base fee, due at the start, 10
    (credit,) = t.billing.credits(acme)
    assert (credit.left, credit.expired) == (0, True)
    accounts = t.billing.accounts()["EUR"]
    assert (accounts["customer_credits"], accounts["expired_credits"]) == (0, -7)
    assert t.billing.balance(acme)[0].credits == 0
    assert t.billing.verify()


def test_credits_are_used_by_priority_and_never_below_zero(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t)
    t.billing.credit(acme, 7, name="later", priority=5)
    t.billing.credit(acme, 8, name="first", priority=-1)
    go_to(clock, MARCH)
    january = t.billing.issue(acme, "2026-01", usage={}).bill
    february = t.billing.issue(acme, "2026-02", usage={}).bill
    assert [(one.name, one.amount) for one in january.credits] == [("first", 8), ("later", 2)]
    assert [(one.name, one.amount) for one in february.credits if one.amount] == [("later", 5)]
    assert [one.left for one in t.billing.credits(acme)] == [0, 0]
    assert t.billing.balance(acme)[0].owed == 6  # 5 and its tax


def test_a_credit_that_was_paid_for_is_money_that_came_in(t: Tenancy) -> None:
    acme = make_buyer(t)
    t.billing.credit(acme, 100, paid=True)
    t.billing.credit(acme, 5)
    accounts = t.billing.accounts(acme)["EUR"]
    assert (accounts["cash"], accounts["promotions"], accounts["customer_credits"]) == (
        100,
        5,
        -105,
    )
    (balance,) = t.billing.balance(acme)
    assert (balance.owed, balance.credits, balance.refunds) == (0, 105, 0)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"amount": -1}, "more than 0"),
        ({"amount": 0}, "more than 0"),
        ({"amount": "1.001"}, "more than 2 digits"),
        ({"amount": 1.5}, "float"),
        ({"amount": 10**20}, "more than the ledger can hold"),
        ({"priority": "high"}, "whole number"),
        ({"expires": JANUARY - DAY}, "past"),
        ({"expires": JANUARY + DAY, "starts": JANUARY + 2 * DAY}, "not after it starts"),
        ({"name": ""}, "name"),
    ],
)
def test_what_cannot_be_a_credit_says_why(t: Tenancy, given: dict[str, Any], what: str) -> None:
    acme = make_buyer(t)
    with pytest.raises(InvalidValue, match=what):
        t.billing.credit(acme, **{"amount": 5, **given})
    assert t.billing.credits(acme) == ()
    assert t.billing.accounts() == {}


# ------------------------------------------------------------------------------ coupons


def test_a_coupon_holds_for_as_many_bills_as_it_says(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t)
    t.billing.coupon("SPRING", percent=50, periods=2)
    go_to(clock, JANUARY + 20 * DAY)
    t.billing.redeem(acme, "SPRING")
    go_to(clock, datetime(2026, 4, 1, tzinfo=timezone.utc))
    nets = [t.billing.issue(acme, f"2026-{m:02d}", usage={}).bill.net for m in (1, 2, 3)]
    assert nets == [5, 5, 10]
    (coupon,) = t.billing.coupons()
    assert (coupon.code, coupon.redeemed, coupon.terms["percent"]) == ("SPRING", 1, "50")
    assert t.billing.verify()


def test_a_coupon_is_redeemed_as_often_as_it_may_be(t: Tenancy, clock: FakeClock) -> None:
    acme, beta, usd = (
        make_buyer(t),
        make_buyer(t, "beta"),
        make_buyer(t, "usd", plan="abroad", currency="USD"),
    )
    t.billing.coupon("ONE", amount=3, currency="EUR", max_redemptions=1)
    with pytest.raises(BillingRefused, match="'EUR' for a tenant that is billed in USD"):
        t.billing.redeem(usd, "ONE")
    t.billing.redeem(acme, "ONE")
    with pytest.raises(BillingRefused, match="has redeemed ONE"):
        t.billing.redeem(acme, "ONE")
    with pytest.raises(BillingRefused, match="as often as it may be"):
        t.billing.redeem(beta, "ONE")
    t.billing.coupon("SHORT", percent=1, redeem_until=JANUARY + DAY)
    clock.advance(86_400)
    with pytest.raises(BillingRefused, match="could be redeemed until 2026-01-02"):
        t.billing.redeem(beta, "SHORT")
    with pytest.raises(NotFound, match="no coupon 'NONE'"):
        t.billing.redeem(beta, "NONE")
    with pytest.raises(AlreadyExists):
        t.billing.coupon("ONE", percent=5)
    with pytest.raises(InvalidValue, match=r"currency.*money has a currency"):
        t.billing.coupon("MONEY", amount=5)
    with pytest.raises(InvalidValue, match="periods"):
        t.billing.coupon("NEVER", percent=5, periods=0)


# ------------------------------------------------------------------------------ credit notes


def test_a_credit_note_lowers_what_is_open_and_the_rest_is_a_credit(
    t: Tenancy, clock: FakeClock
) -> None:
    acme = make_buyer(t)
    go_to(clock, FEBRUARY)
    invoice = t.billing.issue(acme, "2026-01", usage={"storage": 100})  # 10 + 10 and 20 %: 24
    assert t.billing.pay(invoice.number, 20).open == 4
    fee = next(i for i, line in enumerate(invoice.bill.lines) if line.kind == "base_fee")
    note = t.billing.credit_note(invoice.number, [Part(fee)], reason="Outage", refund=5)
    assert (note.number, note.total, note.refund) == ("CN-2026-000001", 12, 5)
    # 12 = 5 paid back + 4 that were still open + 3 as a credit
    assert (t.billing.open(invoice.number), t.billing.open(note.number)) == (0, 5)
    assert [(one.name, one.left) for one in t.billing.credits(acme)] == [
        ("Credit note CN-2026-000001", 3)
    ]
    (balance,) = t.billing.balance(acme)
    assert (balance.owed, balance.credits, balance.refunds) == (0, 3, 5)
    assert t.billing.pay(note.number).open == 0
    assert t.billing.balance(acme)[0].refunds == 0
    assert t.billing.accounts()["EUR"]["cash"] == 15
    rest = t.billing.credit_note(invoice.number, reason="All of it")
    assert note.total + rest.total == invoice.bill.total  # trap 20
    assert t.billing.credit_notes(invoice.number) == (note, rest)
    with pytest.raises(BillingRefused, match="nothing is left"):
        t.billing.credit_note(invoice.number, reason="More")
    assert t.billing.invoice(invoice.number) == invoice
    assert t.billing.accounts()["EUR"]["revenue"] == 0
    facts = t.audit.search(acme, type="credit_note_issued")
    assert {fact.context["digest"] for fact in facts} == {note.digest, rest.digest}
    assert t.billing.verify()


def test_what_cannot_be_taken_back_or_paid_says_why(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t)
    go_to(clock, FEBRUARY)
    number = t.billing.issue(acme, "2026-01", usage={}).number  # 12
    note = t.billing.credit_note(number, [Part(0, 1)], reason="A bit").number
    before = t.billing.accounts()
    refused: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (BillingRefused, "0 is left", lambda: _note(t, number, refund=1)),
        (InvalidValue, "more than the credit note", lambda: _note(t, number, refund=100)),
        (InvalidValue, "of which 9 is left", lambda: _note(t, number, [Part(0, "9.01")])),
        (InvalidValue, "line", lambda: _note(t, number, [Part(7)])),
        (InvalidValue, "reason", lambda: t.billing.credit_note(number, reason="")),
        (BillingRefused, "only invoices", lambda: _note(t, note)),
        (UnknownDocument, "'INV-9'", lambda: _note(t, "INV-9")),
        (BillingRefused, "of which 10.8 is open", lambda: t.billing.pay(number, 11)),
        (InvalidValue, "more than 0", lambda: t.billing.pay(number, -1)),
        (InvalidValue, "digits", lambda: t.billing.pay(number, "0.001")),
        (InvalidValue, "float", lambda: t.billing.pay(number, 0.5)),  # type: ignore[arg-type]
        (BillingRefused, "of which 0 is open", lambda: t.billing.pay(note, 1)),
        (UnknownDocument, "no document", lambda: t.billing.pay("\0", 1)),
    ]
    for error, what, attempt in refused:
        with pytest.raises(error, match=what):
            attempt()
    assert t.billing.accounts() == before
    assert t.billing.verify()


def _note(t: Tenancy, number: str, parts: list[Part] | None = None, **more: Any) -> object:
    return t.billing.credit_note(number, parts, reason="Because", **more)


def test_a_payment_with_a_reference_counts_once(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t)
    go_to(clock, FEBRUARY)
    number = t.billing.issue(acme, "2026-01", usage={}).number
    first = t.billing.pay(number, 5, reference="pi_1")
    again = t.billing.pay(number, 5, reference="pi_1")
    assert (again.id, again.open) == (first.id, 7)
    with pytest.raises(Conflict, match="was recorded with 5"):
        t.billing.pay(number, 6, reference="pi_1")
    assert t.billing.pay(number, reference="pi_2").amount == 7
    assert t.billing.open(number) == 0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tenancy, FakeClock]]:
    """Each example is one tenant more and one month later."""
    clock = FakeClock(JANUARY)
    with open_billing(tmp_path_factory.mktemp("shop"), clock) as t:
        yield t, clock
        assert t.billing.verify()


STEP = st.one_of(
    st.tuples(st.just("pay"), st.integers(1, 3000)),
    st.tuples(st.just("note"), st.integers(0, 2), st.integers(1, 1500), st.integers(0, 1500)),
    st.tuples(st.just("all"), st.integers(0, 3000)),
)


@settings(max_examples=25)
@given(steps=st.lists(STEP, max_size=8), calls=st.integers(0, 5000))
def test_parts_never_exceed_the_invoice_and_the_ledger_balances(
    shop: tuple[Tenancy, FakeClock],
    steps: list[tuple[Any, ...]],
    calls: int,
) -> None:
    """Against a model of three numbers: what was paid, taken back, and granted back."""
    t, clock = shop
    month = clock.now()
    tenant = make_buyer(t, f"s{month:%Y-%m}")
    go_to(clock, (month + 31 * DAY).replace(day=1))
    usage = {"calls": calls, "storage": 33}
    invoice = t.billing.issue(tenant, month, usage=usage)
    number, whole = invoice.number, invoice.bill.total
    paid = taken = refunded = credited = Decimal(0)
    for step in steps:
        cents = [Decimal(one).scaleb(-2) for one in step[1:]]
        try:
            if step[0] == "pay":
                t.billing.pay(number, cents[0])
                paid += cents[0]
                continue
            parts, back = None, cents[-1]
            if step[0] == "note":
                parts = [Part(step[1], cents[1])]
            still_open = t.billing.open(number)
            note = t.billing.credit_note(number, parts, reason="Because", refund=back)
        except (BillingRefused, InvalidValue):
            continue
        taken += note.total
        refunded += note.refund
        credited += max(Decimal(0), note.total - note.refund - still_open)
    assert t.billing.open(number) == whole - paid - (taken - refunded - credited) >= 0
    assert refunded <= paid
    assert taken <= whole
    assert sum(one.left for one in t.billing.credits(tenant)) == credited
    accounts = t.billing.accounts(tenant)["EUR"]
    assert sum(accounts.values()) == 0
    assert -accounts["revenue"] - accounts["tax"] == whole - taken


# ------------------------------------------------------------------------------ late usage


def test_late_usage_is_a_line_of_the_next_bill(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t)
    t.billing._usage = meter = Meter()
    meter.use(acme, "calls", 900, JANUARY + DAY)
    go_to(clock, FEBRUARY + DAY)
    january = t.billing.issue(acme, "2026-01")
    assert t.billing.adjust(january.number) is None
    meter.use(acme, "calls", 200, JANUARY + 2 * DAY)  # 100 at 0.01 and 100 at 0.005
    late = t.billing.adjust(january.number)
    assert late is not None
    assert (late.amount, late.metrics) == (Decimal("1.5"), {"calls": Decimal("1.5")})
    assert t.billing.adjust(january.number) is None
    meter.use(acme, "calls", -50, JANUARY + 2 * DAY)  # a correction
    again = t.billing.adjust(january.number)
    assert again is not None
    assert again.amount == Decimal("-0.25")
    assert t.billing.invoice(january.number) == january
    go_to(clock, MARCH)
    bill = t.billing.issue(acme, "2026-02").bill
    adjustments = [line for line in bill.lines if line.kind == "adjustment"]
    assert [(one.amount, one.metric, one.period.start) for one in adjustments] == [
        (Decimal("1.5"), "calls", JANUARY),
        (Decimal("-0.25"), "calls", JANUARY),
    ]
    assert bill.net == Decimal("11.25")
    assert adjustments[0].description == f"calls: late usage of {january.number}"
    go_to(clock, datetime(2026, 4, 1, tzinfo=timezone.utc))
    assert t.billing.issue(acme, "2026-03").bill.net == 10
    assert t.billing.verify()


def test_what_was_billed_too_much_becomes_a_credit(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t)
    t.billing._usage = meter = Meter()
    meter.use(acme, "storage", 500, JANUARY + DAY)
    go_to(clock, FEBRUARY)
    january = t.billing.issue(acme, "2026-01")  # 10 + 50
    meter.use(acme, "storage", -500, JANUARY + DAY)
    late = t.billing.adjust(january.number)
    assert late is not None
    assert late.amount == -50
    go_to(clock, MARCH)
    february = t.billing.issue(acme, "2026-02")
    assert (february.bill.total, february.bill.due) == (-48, 0)  # 10 - 50, and 20 %
    (credit,) = t.billing.credits(acme)
    assert (credit.left, credit.source) == (48, february.number)
    (balance,) = t.billing.balance(acme)
    assert (balance.owed, balance.credits) == (72, 48)
    assert t.billing.verify()


def test_who_has_left_is_billed_for_late_usage_alone(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t)
    t.billing._usage = meter = Meter()
    go_to(clock, FEBRUARY)
    t.tenants.churn(acme)
    january = t.billing.issue(acme, "2026-01")
    meter.use(acme, "storage", 10, JANUARY + DAY)
    t.billing.adjust(january.number)
    go_to(clock, MARCH)
    bill = t.billing.issue(acme, "2026-02").bill
    assert [(line.kind, line.amount) for line in bill.lines] == [("adjustment", 1)]
    assert t.billing.verify()


# ------------------------------------------------------------------------------ nothing changes


def test_the_database_refuses_to_change_what_was_issued(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t)
    t.billing.credit(acme, 1)
    go_to(clock, FEBRUARY)
    t.billing.issue(acme, "2026-01", usage={})
    from tenancy.stores import billing_tables

    for table in billing_tables.APPEND_ONLY:
        column = next(c.name for c in table.columns if c.name != "seq")
        for text in (
            f"UPDATE {table.name} SET {column} = {column}",
            f"DELETE FROM {table.name}",
        ):
            with t._host.read() as connection:
                count = sa.text(f"SELECT count(*) FROM {table.name}")
                if not connection.execute(count).scalar():
                    continue
            with (
                pytest.raises(sa.exc.IntegrityError, match="never change"),
                t._host.database.write() as connection,
            ):
                connection.execute(sa.text(text))


TAMPERED = {
    "an amount": ("UPDATE billing_documents SET total = '0' WHERE seq = 1", "total is 0"),
    "a document": (
        "UPDATE billing_documents SET document = replace(document, 'Acme', 'Ocme') WHERE seq = 1",
        "the document is not the one",
    ),
    "a document that is gone": ("DELETE FROM billing_documents WHERE seq = 1", "follows number 0"),
    "the last document": (
        "DELETE FROM billing_documents WHERE seq = (SELECT max(seq) FROM billing_documents)",
        "the log has it",
    ),
    "an entry": (
        "UPDATE billing_entries SET amount_minor = amount_minor + 1 WHERE account = 'receivable'",
        "sum to 1 of EUR",
    ),
    "two entries": (
        "UPDATE billing_entries SET amount_minor = amount_minor"
        " + CASE account WHEN 'receivable' THEN 5 WHEN 'tax' THEN -5 ELSE 0 END",
        "receivable is",
    ),
    "a fact": (
        "UPDATE billing_timeline SET value = '{\"plan\":\"big\"}', kind = 'plan'"
        " WHERE kind = 'created'",
        "computed again",
    ),
    "a price": (
        "UPDATE billing_books SET document = replace(document, '10', '11')",
        "is not what was kept",
    ),
    "a quantity": (
        "UPDATE billing_usage SET quantities = replace(quantities, '\"7\"', '\"8\"')",
        "computed again it comes to",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_verify_finds_what_was_tampered_with(t: Tenancy, clock: FakeClock, what: str) -> None:
    acme = make_buyer(t)
    go_to(clock, MARCH)
    for month in ("2026-01", "2026-02"):
        t.billing.issue(acme, month, usage={"calls": 7})
    assert t.billing.verify()
    statement, finding = TAMPERED[what]
    with t._host.database.write() as connection:
        names = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'billing%'"
        for name in connection.execute(sa.text(names)).scalars().all():
            connection.execute(sa.text(f"DROP TRIGGER {name}"))
        assert connection.execute(sa.text(statement)).rowcount > 0
        connection.commit()
    t.billing._books._known.clear()
    report = t.billing.verify()
    assert not report
    assert any(finding in problem for problem in report.problems), report.problems


def test_verify_finds_a_document_of_which_the_log_knows_nothing(
    t: Tenancy, clock: FakeClock
) -> None:
    acme = make_buyer(t)
    go_to(clock, FEBRUARY)
    t.billing.issue(acme, "2026-01", usage={})
    clock.advance(60)
    go_to(clock, MARCH)
    t.billing.issue(acme, "2026-02", usage={})
    with t._host.database.write() as connection:  # before it is in the log
        connection.execute(sa.text("DELETE FROM outbox WHERE resource_id = 'INV-2026-000002'"))
        connection.commit()
    report = t.billing.verify()
    assert report.problems == ("INV-2026-000002: the log does not have it",)
