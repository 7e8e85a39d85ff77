"""Fees in advance, other periods, new prices: issued once, computed again, balanced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from invoice_support import (
    CATALOG,
    DAY,
    JANUARY,
    SELLER,
    Meter,
    go_to,
    make_buyer,
    open_billing,
)
from tenancy import Catalog, Tenancy
from tenancy.billing import Bill
from tenancy.errors import (
    BillingRefused,
    CatalogError,
    InvalidValue,
    NothingToBill,
    PeriodClosed,
)
from tenancy.invoices import _prices
from tenancy.pricing import PriceBook
from tenancy.stores.database import Database
from tenancy.testing import FakeClock

FEBRUARY = datetime(2026, 2, 1, tzinfo=timezone.utc)
MARCH = datetime(2026, 3, 1, tzinfo=timezone.utc)
APRIL = datetime(2026, 4, 1, tzinfo=timezone.utc)


def with_billing(**billing: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(CATALOG)), "billing": billing}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(JANUARY)


@pytest.fixture
def t(tmp_path: Path, clock: FakeClock) -> Iterator[Tenancy]:
    """Fees in advance; bills without tax, so that amounts are those of the fees."""
    with open_billing(tmp_path, clock, catalog=with_billing(fees="in_advance")) as opened:
        opened.billing.configure(seller=SELLER)
        opened.billing._usage = Meter()
        yield opened


def charges(bill: Bill) -> list[tuple[str, str | None, str, Decimal]]:
    """Kind, plan, first day, amount of each line."""
    return [
        (line.kind, line.plan, f"{line.period.start:%m-%d}", line.amount) for line in bill.lines
    ]


def check_all(t: Tenancy) -> None:
    """Everything is computed again to the same, and the ledger balances."""
    report = t.billing.verify()
    assert report, report.problems
    assert report.recomputed == len(t.billing.invoices())
    for accounts in t.billing.accounts().values():
        assert sum(accounts.values()) == 0


# ------------------------------------------------------------------------------ fees in advance


def test_who_signs_up_pays_the_first_period_then(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t)
    first = t.billing.issue_first(acme)
    assert charges(first.bill) == [("base_fee", "team", "01-01", 10)]
    assert first.bill.period.start == JANUARY
    assert t.billing.issue_first(acme) == first  # again: the same
    assert t.billing.recompute(first.number) == first.bill
    (row,) = t.billing.invoices(acme)
    assert (row.number, row.period) == (first.number, None)
    t.billing._usage.use(acme, "storage", 50, JANUARY + DAY)  # type: ignore[attr-defined]
    go_to(clock, FEBRUARY)
    january = t.billing.issue(acme, "2026-01")
    # What was used in January, and the fee of February.
    assert charges(january.bill) == [
        ("usage", "team", "01-01", 5),
        ("base_fee", "team", "02-01", 10),
    ]
    check_all(t)


def test_the_first_invoice_comes_before_that_of_a_period(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t)
    go_to(clock, FEBRUARY)
    with pytest.raises(BillingRefused, match=r"first period are charged in advance.*issue_first"):
        t.billing.issue(acme, "2026-01")
    report = t.billing.issue_all()
    assert (report.issued, report.refusals) == (2, 0)
    assert t.billing.issue_all().issued == 0
    assert [row.period is None for row in t.billing.invoices(acme)] == [True, False]
    check_all(t)


def test_a_change_of_plan_gives_back_what_is_unused_of_the_old_fee(
    t: Tenancy, clock: FakeClock
) -> None:
    acme = make_buyer(t)
    t.billing.issue_first(acme)
    go_to(clock, JANUARY + 10 * DAY)
    t.tenants.change_plan(acme, "big")
    t.billing.seats(acme, 2)
    go_to(clock, FEBRUARY)
    bill = t.billing.issue(acme, "2026-01").bill
    assert charges(bill) == [
        ("base_fee", "team", "01-01", Decimal("3.23")),  # 10 of 31 days
        ("base_fee", "big", "01-11", Decimal("67.74")),
        ("seats", "big", "01-11", Decimal("6.77")),
        ("base_fee", "big", "02-01", 100),
        ("seats", "big", "02-01", 10),
        ("adjustment", "team", "01-01", -10),
    ]
    go_to(clock, MARCH)
    # February came to just what was charged: only March is on its bill.
    march = t.billing.issue(acme, "2026-02").bill
    assert charges(march) == [("base_fee", "big", "03-01", 100), ("seats", "big", "03-01", 10)]
    check_all(t)


def test_who_leaves_gets_back_what_is_unused_as_a_credit(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t, plan="big")
    t.billing.issue_first(acme)
    t.billing.pay("INV-2026-000001")
    go_to(clock, JANUARY + 10 * DAY)
    t.tenants.churn(acme)
    go_to(clock, FEBRUARY)
    bill = t.billing.issue(acme, "2026-01").bill
    assert charges(bill) == [
        ("base_fee", "big", "01-01", Decimal("32.26")),
        ("adjustment", "big", "01-01", -100),
    ]
    assert (bill.total, bill.due) == (Decimal("-67.74"), 0)
    (credit,) = t.billing.credits(acme)
    assert (credit.left, credit.source) == (Decimal("67.74"), "INV-2026-000002")
    (balance,) = t.billing.balance(acme)
    assert (balance.owed, balance.credits) == (0, Decimal("67.74"))
    go_to(clock, MARCH)
    with pytest.raises(NothingToBill):
        t.billing.issue(acme, "2026-02")
    check_all(t)


def test_who_leaves_before_a_paid_period_begins_gets_all_of_it_back(
    t: Tenancy, clock: FakeClock
) -> None:
    acme = make_buyer(t)
    t.billing.issue_first(acme)
    go_to(clock, FEBRUARY)
    t.billing.issue(acme, "2026-01")
    t.tenants.churn(acme)  # at the very start of February, which has been charged
    go_to(clock, MARCH)
    bill = t.billing.issue(acme, "2026-02").bill
    assert charges(bill) == [("adjustment", "team", "02-01", -10)]
    check_all(t)


def test_seats_that_come_later_are_charged_when_the_period_has_ended(
    t: Tenancy, clock: FakeClock
) -> None:
    acme = make_buyer(t, plan="big")
    t.billing.seats(acme, 2, since=JANUARY)
    assert [one[3] for one in charges(t.billing.issue_first(acme).bill)] == [100, 10]
    go_to(clock, JANUARY + 10 * DAY)
    t.billing.seats(acme, 5)
    go_to(clock, FEBRUARY)
    bill = t.billing.issue(acme, "2026-01").bill
    seats = [one for one in charges(bill) if one[0] != "base_fee"]
    assert seats == [
        ("seats", "big", "01-01", Decimal("3.23")),
        ("seats", "big", "01-11", Decimal("16.94")),
        ("seats", "big", "02-01", 25),
        ("adjustment", "big", "01-01", -10),
    ]
    check_all(t)


def test_a_trial_is_charged_from_when_it_becomes_a_customer(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t, status="trial")
    with pytest.raises(NothingToBill, match="nothing is charged in advance"):
        t.billing.issue_first(acme)
    go_to(clock, JANUARY + 21 * DAY)
    t.tenants.activate(acme)
    go_to(clock, FEBRUARY)
    assert t.billing.issue_all().issued == 1
    (row,) = t.billing.invoices(acme)
    assert charges(t.billing.invoice(row.number).bill) == [
        ("base_fee", "team", "01-22", Decimal("3.23")),
        ("base_fee", "team", "02-01", 10),
    ]
    check_all(t)


def test_discounts_and_credits_of_the_first_period_count_on_the_first_invoice(
    t: Tenancy, clock: FakeClock
) -> None:
    acme = make_buyer(t, plan="big")
    t.billing.coupon("HALF", percent=50, periods=1)
    t.billing.redeem(acme, "HALF")
    t.billing.credit(acme, 20)
    first = t.billing.issue_first(acme).bill
    assert (first.discount, first.credit, first.due) == (50, 20, 30)
    go_to(clock, JANUARY + 10 * DAY)
    t.tenants.churn(acme)
    go_to(clock, FEBRUARY)
    bill = t.billing.issue(acme, "2026-01").bill
    # The coupon is spent, so that the used part costs its whole price; 50 were charged.
    assert [one[3] for one in charges(bill)] == [Decimal("32.26"), -50]
    check_all(t)


def test_from_arrears_to_advance_and_back_nothing_is_charged_twice(
    tmp_path: Path, clock: FakeClock
) -> None:
    with open_billing(tmp_path, clock) as t:
        t.billing.configure(seller=SELLER)
        t.billing._usage = Meter()
        acme = make_buyer(t)
        with pytest.raises(BillingRefused, match=r"in arrears.*fees: in_advance"):
            t.billing.issue_first(acme)
        go_to(clock, JANUARY + DAY)
        t.reload_catalog(Catalog.from_dict(with_billing(fees="in_advance")))
        go_to(clock, FEBRUARY + DAY)
        t.billing.issue(acme, "2026-01")
        t.reload_catalog(Catalog.from_dict(CATALOG))
        go_to(clock, APRIL)
        with pytest.raises(NothingToBill):  # February was charged with January
            t.billing.issue(acme, "2026-02")
        t.billing.issue(acme, "2026-03")
        paid = [t.billing.invoice(row.number).bill.total for row in t.billing.invoices(acme)]
        assert paid == [20, 10]
        check_all(t)


def test_the_running_cost_shows_what_was_charged_and_the_next_fee(
    t: Tenancy, clock: FakeClock
) -> None:
    acme = make_buyer(t)
    # Also before the first invoice is issued: what it will charge is not charged again.
    for _ in range(2):
        assert charges(t.billing.running(acme).bill) == [("base_fee", "team", "02-01", 10)]
        t.billing.issue_first(acme)


def test_two_first_invoices_are_refused_by_the_database(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t)
    t.billing.issue_first(acme)
    copy = (
        "INSERT INTO billing_documents SELECT NULL, 'inv_x', 'X-1', 'X', 1, kind, tenant_id, about,"
        " period_start_ns, period_end_ns, currency, total, issued_ns, digest, document"
        " FROM billing_documents"
    )
    with (
        Database(t._host.directory).cursor() as cursor,
        pytest.raises(Exception, match="UNIQUE constraint failed"),
    ):
        cursor.connection.execute(copy)


def test_what_is_late_in_a_period_is_adjusted_as_ever(t: Tenancy, clock: FakeClock) -> None:
    acme = make_buyer(t)
    first = t.billing.issue_first(acme)
    meter: Any = t.billing._usage
    go_to(clock, FEBRUARY)
    january = t.billing.issue(acme, "2026-01")
    meter.use(acme, "storage", 30, JANUARY + DAY)
    assert t.billing.adjust(first.number) is None
    late = t.billing.adjust(january.number)
    assert late is not None
    assert late.amount == 3
    check_all(t)


# ------------------------------------------------------------------------------ other periods


@pytest.mark.parametrize(
    ("unit", "zone", "days"),
    [
        ("week", None, ["01-01", "01-08", "01-15", "01-22"]),
        ("quarter", None, ["01-01", "04-01", "07-01", "10-01"]),
        ("year", None, ["01-01", "01-01", "01-01", "01-01"]),
        ("day", "Europe/Vienna", ["01-01", "01-02", "01-03", "01-04"]),
    ],
)
def test_periods_are_what_the_catalog_says(
    tmp_path: Path, clock: FakeClock, unit: str, zone: str | None, days: list[str]
) -> None:
    with open_billing(tmp_path, clock, catalog=with_billing(period=unit)) as t:
        acme = make_buyer(t, time_zone=zone)
        t.usage.record(acme, "calls", 100)
        period = t.usage.period(acme)
        go_to(clock, period.end + 4 * DAY)  # past the grace
        starts = []
        while len(starts) < len(days):
            t.billing.issue_all()
            rows = [row for row in t.billing.invoices(acme) if row.period is not None]
            starts = [f"{row.period.start:%m-%d}" for row in rows if row.period]
            clock.advance(86_400 * {"week": 7, "day": 1}.get(unit, 92))
        assert starts[: len(days)] == days
        first = t.billing.invoice(t.billing.invoices(acme).items[0].number).bill
        assert (first.period.start, first.period.end) == (period.start, period.end)
        assert first.lines[0].quantity == 100
        check_all(t)


def test_calendar_weeks_begin_on_monday_where_the_tenant_is(
    tmp_path: Path, clock: FakeClock
) -> None:
    """1 January 2026 is a Thursday: the first week is paid from then on, by its part."""
    catalog = with_billing(period="week", anchor="calendar")
    with open_billing(tmp_path, clock, catalog=catalog) as t:
        t.billing.configure(seller=SELLER)
        acme = make_buyer(t, time_zone="Europe/Vienna")
        go_to(clock, JANUARY + 12 * DAY)
        with pytest.raises(InvalidValue, match=r"5 begin in 2026-01.*2026-01-01, 2026-01-05"):
            t.billing.preview(acme, "2026-01", usage={})
        first = t.billing.issue(acme, "2026-01-01", usage={}).bill
        assert first.period.end == datetime(2026, 1, 4, 23, tzinfo=timezone.utc)
        assert charges(first)[0][2:] == ("01-01", Decimal("5.65"))  # 95 of 168 hours
        second = t.billing.issue(acme, "2026-01-05", usage={}).bill
        assert second.total == 10
        check_all(t)


def test_from_months_to_a_year_and_back(tmp_path: Path, clock: FakeClock) -> None:
    """The month ends at the change; what is cut is paid by its part, and the day stays."""
    catalog = with_billing()
    catalog["plans"]["yearly"] = {"price": 365, "period": "year"}
    catalog["plans"]["flat"] = {"price": 31}
    with open_billing(tmp_path, clock, catalog=catalog) as t:
        t.billing.configure(seller=SELLER)
        acme = make_buyer(t, plan="flat")
        go_to(clock, JANUARY + 10 * DAY)
        t.tenants.change_plan(acme, "yearly")
        go_to(clock, JANUARY + 20 * DAY)
        t.tenants.change_plan(acme, "flat")
        go_to(clock, APRIL)
        assert t.billing.issue_all().issued == 4
        bills = [t.billing.invoice(row.number).bill for row in t.billing.invoices(acme)]
        assert [bill.total for bill in bills] == [10, 10, 11, 31]
        assert [bill.period.start for bill in bills] == [
            JANUARY,
            JANUARY + 10 * DAY,
            JANUARY + 20 * DAY,
            FEBRUARY,
        ]
        check_all(t)


def test_events_of_a_month_that_was_cut_are_closed_after_its_grace(
    tmp_path: Path, clock: FakeClock
) -> None:
    catalog = with_billing()
    catalog["plans"]["yearly"] = {"price_book": "team", "period": "year"}
    with open_billing(tmp_path, clock, catalog=catalog) as t:
        acme = make_buyer(t)
        t.usage.record(acme, "calls", 5)
        go_to(clock, JANUARY + 10 * DAY)
        t.tenants.change_plan(acme, "yearly")
        go_to(clock, JANUARY + 12 * DAY)
        assert t.billing.issue_all().waiting == 1
        t.usage.record(acme, "calls", 7, time=JANUARY + DAY)  # late, and in time
        go_to(clock, JANUARY + 14 * DAY)
        assert t.billing.issue_all().issued == 1
        (row,) = t.billing.invoices(acme)
        assert t.billing.invoice(row.number).bill.lines[0].quantity == 12
        with pytest.raises(PeriodClosed):
            t.usage.record(acme, "calls", 7, time=JANUARY + DAY)
        check_all(t)


def test_a_change_at_the_end_of_the_period_waits_for_the_year(
    tmp_path: Path, clock: FakeClock
) -> None:
    with open_billing(tmp_path, clock, catalog=with_billing(period="year")) as t:
        acme = make_buyer(t)
        change = t.tenants.change_plan(acme, "big", at="period_end")
        assert change.effective == datetime(2027, 1, 1, tzinfo=timezone.utc)


def test_a_catalog_with_other_periods_lets_the_running_one_end(
    tmp_path: Path, clock: FakeClock
) -> None:
    with open_billing(tmp_path, clock) as t:
        acme = make_buyer(t)
        go_to(clock, JANUARY + 10 * DAY)
        t.reload_catalog(Catalog.from_dict(with_billing(period="quarter")))
        go_to(clock, datetime(2026, 6, 1, tzinfo=timezone.utc))
        january = t.billing.issue(acme, "2026-01", usage={}).bill.period
        # Quarters are counted from the anchor, in January: the first of them is a short one.
        february = t.billing.issue(acme, "2026-02", usage={}).bill.period
        assert (january.end, february.end) == (FEBRUARY, APRIL)
        check_all(t)


def test_a_year_that_a_catalog_makes_of_a_month_begins_with_the_next_period(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Also when the plan changes before it: between two plans of a year nothing is cut."""
    catalog = with_billing()
    catalog["plans"] = {"team": {"price": 31}, "flat": {"price": 62}}
    with open_billing(tmp_path, clock, catalog=catalog) as t:
        t.billing.configure(seller=SELLER)
        acme = make_buyer(t)
        go_to(clock, JANUARY + 10 * DAY)
        yearly = {
            "team": {"price": 365, "period": "year"},
            "flat": {"price": 730, "period": "year"},
        }
        t.reload_catalog(Catalog.from_dict({**catalog, "plans": yearly}))
        go_to(clock, JANUARY + 20 * DAY)
        t.tenants.change_plan(acme, "flat")
        go_to(clock, datetime(2027, 2, 1, tzinfo=timezone.utc))
        january = t.billing.issue(acme, "2026-01", usage={}).bill
        # By January's prices, until its end. The year that has the anchor in it ends with December,
        # and of it the 334 days from then on are paid.
        assert charges(january) == [
            ("base_fee", "team", "01-01", 20),
            ("base_fee", "flat", "01-21", 22),
        ]
        rest = t.billing.issue(acme, "2026-02", usage={}).bill
        assert (rest.period.end, rest.total) == (datetime(2027, 1, 1, tzinfo=timezone.utc), 668)
        check_all(t)


@pytest.mark.parametrize("period", ["2199-13", "2300-01", "9999-12-31", "2026-02-30"])
def test_a_period_that_never_comes_is_refused(t: Tenancy, period: str) -> None:
    acme = make_buyer(t)
    with pytest.raises(InvalidValue, match=r"period.*(none begins|is not a month)"):
        t.billing.preview(acme, period)
    with pytest.raises(InvalidValue, match="too far in the future"):
        t.billing.preview(acme, datetime(2250, 1, 1, tzinfo=timezone.utc))


# ------------------------------------------------------------------------------ prices


def dearer(fee: int, **billing: Any) -> Catalog:
    document = with_billing(**billing)
    document["price_books"]["team"]["base_fee"] = fee
    return Catalog.from_dict(document)


def test_prices_are_fixed_when_their_catalog_comes_into_force(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when something is first billed: a release whose shipped book is another changes nothing
    of what was agreed."""
    catalog = {**CATALOG, "plans": {"team": {"price_book": "llm-tokens"}}, "price_books": {}}
    catalog["currency"] = "USD"
    shipped = PriceBook.load("llm-tokens")
    with open_billing(tmp_path, clock, catalog=catalog) as t:
        acme = make_buyer(t, currency="USD")
    other = PriceBook.from_dict(
        {"price_book": "llm-tokens", "currency": "USD", "metrics": {"context_tokens": 1}}
    )
    monkeypatch.setattr(PriceBook, "load", classmethod(lambda cls, name: other))
    with open_billing(tmp_path, clock, catalog=None) as t:
        usage = {"context_tokens": 1_000_000}
        assert t.billing.preview(acme.id, usage=usage).net == shipped.amount(usage)


def test_prices_that_count_at_once_split_the_period(tmp_path: Path, clock: FakeClock) -> None:
    with open_billing(tmp_path, clock) as t:
        t.billing.configure(seller=SELLER)
        t.billing._usage = meter = Meter()
        acme = make_buyer(t)
        meter.use(acme, "storage", 10, JANUARY + DAY)
        go_to(clock, JANUARY + 10 * DAY)
        t.reload_catalog(dearer(31, price_changes="at_once"))
        meter.use(acme, "storage", 20, JANUARY + 15 * DAY)
        go_to(clock, JANUARY + 20 * DAY)
        t.reload_catalog(dearer(62))  # of the next period
        go_to(clock, MARCH)
        january = t.billing.issue(acme, "2026-01")
        assert charges(january.bill) == [
            ("usage", "team", "01-01", 1),
            ("usage", "team", "01-11", 2),
            ("base_fee", "team", "01-01", Decimal("3.23")),
            ("base_fee", "team", "01-11", 21),
        ]
        assert t.billing.issue(acme, "2026-02").bill.total == 62
        t.reload_catalog(dearer(1, price_changes="at_once"))
        assert t.billing.recompute(january.number) == january.bill
        check_all(t)


def test_prices_that_count_at_once_settle_what_was_charged_in_advance(
    t: Tenancy, clock: FakeClock
) -> None:
    acme = make_buyer(t)
    t.billing.issue_first(acme)
    go_to(clock, JANUARY + 10 * DAY)
    t.reload_catalog(dearer(31, fees="in_advance", price_changes="at_once"))
    go_to(clock, FEBRUARY)
    assert [one[3] for one in charges(t.billing.issue(acme, "2026-01").bill)] == [
        Decimal("3.23"),
        21,
        31,
        -10,
    ]
    check_all(t)


def test_a_directory_from_before_keeps_its_months_until_another_catalog(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its catalog was pinned by a release that noted no options; what holds without a word did."""
    with monkeypatch.context() as patch:
        patch.setattr(_prices, "_note_options", lambda *_, **__: None)
        with open_billing(tmp_path, clock) as t:
            acme = make_buyer(t)
    with open_billing(tmp_path, clock, catalog=None) as t:
        go_to(clock, FEBRUARY + 3 * DAY)
        t.reload_catalog(Catalog.from_dict(with_billing(period="week", fees="in_advance")))
        go_to(clock, MARCH + 10 * DAY)
        t.billing._usage = Meter()
        t.billing.issue_all()
        starts = [
            f"{t.billing.invoice(row.number).bill.period.start:%m-%d}"
            for row in t.billing.invoices(acme.id)
        ]
        assert starts == ["01-01", "02-01", "03-01"]  # two months, then the rest of a week
        check_all(t)


# ------------------------------------------------------------------------------ what is wrong


@pytest.mark.parametrize(
    ("billing", "what"),
    [
        ({"fees": "upfront"}, r"billing\.fees.*in_arrears.*in_advance"),
        ({"period": "hour"}, r"billing\.period.*quarter"),
        ({"period": 3}, r"billing\.period"),
        ({"anchor": "signup"}, r"billing\.anchor.*subscription"),
        ({"price_changes": True}, r"billing\.price_changes.*next_period"),
        ({"dispute": "380 days"}, r"billing\.dispute.*366 days"),
        ({"dispute": -1}, r"billing\.dispute"),
        ({"cycle": "month"}, r"billing.*cycle"),
        ("month", r"billing"),
    ],
)
def test_wrong_options_are_told_by_their_path(billing: Any, what: str) -> None:
    with pytest.raises(CatalogError, match=what):
        Catalog.from_dict({**CATALOG, "billing": billing})


def test_a_price_for_a_shorter_time_than_a_day_is_no_fee(tmp_path: Path, clock: FakeClock) -> None:
    catalog = with_billing()
    catalog["plans"]["rented"] = {"price": 1, "period": "hour"}
    with open_billing(tmp_path, clock, catalog=catalog) as t:
        acme = make_buyer(t, plan="rented")
        with pytest.raises(BillingRefused, match="'rented' costs is not in the catalog"):
            t.billing.preview(acme, usage={})
