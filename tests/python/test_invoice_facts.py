"""The facts that bills are computed from: periods, migration, what stays after a purge."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from invoice_support import BUYER, CATALOG, DAY, JANUARY, SELLER, go_to, make_buyer, open_billing
from store_support import open_shop
from tenancy import Tenancy
from tenancy._text import to_ns
from tenancy.errors import AlreadyExists, InvalidValue, StoreError
from tenancy.invoices._base import read_state
from tenancy.invoices._numbering import Numbering
from tenancy.invoices._periods import Calendar, find, label, period_of, walk
from tenancy.pricing import PriceBook
from tenancy.stores.billing_rows import changed
from tenancy.stores.database import Database
from tenancy.stores.directory import open_directory
from tenancy.testing import FakeClock

FEBRUARY = datetime(2026, 2, 1, tzinfo=timezone.utc)
ZONES = ["UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata", "Pacific/Apia", None]
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(timezone.utc))


# ------------------------------------------------------------------------------ periods


@given(
    start=TIMES,
    changes=st.lists(st.tuples(TIMES, TIMES, st.sampled_from(ZONES)), min_size=1, max_size=4),
)
def test_periods_follow_one_another_and_hold_every_moment(
    start: datetime, changes: list[tuple[datetime, datetime, str | None]]
) -> None:
    """Whatever becomes of anchor and time zone."""
    first = to_ns(start, "start")
    ordered = sorted(
        ((to_ns(at, "at"), to_ns(anchor, "anchor"), zone) for at, anchor, zone in changes),
        key=lambda change: change[0],
    )
    calendar = Calendar(ordered)
    spans = list(itertools.islice(walk(calendar, first), 40))
    assert spans[0][0] == first
    for one, after in itertools.pairwise(spans):
        assert one[0] < one[1] == after[0]
        assert one[1] - one[0] <= 62 * 86_400 * 10**9
    for span in spans[::7]:
        period = period_of(span)
        assert find(calendar, first, period) == span
        assert find(calendar, first, period.start) == span
        assert find(calendar, first, period.end - timedelta(microseconds=1)) == span
        named = [one for one in spans if label(calendar, one) == label(calendar, span)]
        if len(named) == 1 and span != spans[-1]:
            assert find(calendar, first, label(calendar, span)) == span


def test_a_new_anchor_holds_from_the_next_period_on(tmp_path: Path) -> None:
    clock = FakeClock(JANUARY)
    with open_billing(tmp_path, clock) as t:
        acme = make_buyer(t)
        go_to(clock, JANUARY + 10 * DAY)
        t.tenants.update(acme, anchor=datetime(2026, 1, 15, tzinfo=timezone.utc))
        go_to(clock, datetime(2026, 3, 15, tzinfo=timezone.utc))
        periods = [
            t.billing.issue(acme, when, usage={}).bill.period
            for when in (JANUARY, FEBRUARY, FEBRUARY + 20 * DAY)
        ]
        days = [(one.start.day, one.end.day) for one in periods]
        assert days == [(1, 1), (1, 15), (15, 15)]
        assert t.billing.issue(acme, FEBRUARY, usage={}).bill.total > 0
        with pytest.raises(InvalidValue, match=r"2 begin in 2026-02.*a moment"):
            t.billing.issue(acme, "2026-02", usage={})
        assert t.billing.verify()


def test_billing_begins_with_the_period_in_which_there_is_an_account(tmp_path: Path) -> None:
    clock = FakeClock(JANUARY)
    with open_billing(tmp_path, clock) as t:
        acme = t.tenants.create("Acme", slug="acme", anchor=JANUARY)
        go_to(clock, FEBRUARY + 5 * DAY)
        t.billing.account(acme, party=BUYER, currency="EUR")
        assert t.billing.preview(acme, usage={}).period.start == FEBRUARY
        with pytest.raises(InvalidValue, match=r"before its billing began"):
            t.billing.account(acme, party=BUYER, currency="EUR", since=JANUARY)
        beta = t.tenants.create("Beta", slug="beta", anchor=JANUARY)
        t.billing.account(beta, party=BUYER, currency="EUR", since=FEBRUARY)
        assert t.billing.preview(beta, usage={}).period.start == FEBRUARY + 5 * DAY  # made then


def test_many_accounts_are_one_change(tmp_path: Path) -> None:
    clock = FakeClock(JANUARY)
    with open_billing(tmp_path, clock) as t:
        ids = t.tenants.create_many([{"name": f"T{i}", "slug": f"t{i}"} for i in range(3)])
        rows = [{"tenant": one, "party": BUYER, "currency": "EUR"} for one in ids]
        with pytest.raises(InvalidValue, match="is there twice"):
            t.billing.account_many([*rows, rows[0]])
        with pytest.raises(InvalidValue, match=r"currency|XXY"):
            t.billing.account_many([*rows[:2], {**rows[2], "currency": "XXY"}])
        assert t.billing.account_many(iter(rows)) == 3
        assert [t.billing.preview(one, usage={}).net for one in ids] == [10, 10, 10]


def test_who_has_other_facts_than_were_read_is_known(tmp_path: Path) -> None:
    """Beside the plain way: everything read again, and compared."""
    clock = FakeClock(JANUARY)
    with open_billing(tmp_path, clock) as t:
        a, b, c = (make_buyer(t, slug).id for slug in "abc")
        t.billing.coupon("SPRING", percent=10)
        own = {"price_book": "own", "currency": "EUR", "metrics": {"calls": "0.5"}}
        book = PriceBook.from_dict(own)
        clock.advance(32 * 86_400)
        steps: list[tuple[set[str], Callable[[], object]]] = [
            (set(), lambda: t.tenants.update(b, name="Beta")),
            ({a}, lambda: t.tenants.change_plan(a, "big")),
            ({b}, lambda: t.tenants.change_plan(b, "big", at="period_end")),
            (set(), lambda: t.tenants.change_plan(b, "flat", at="period_end")),  # due as before
            ({c}, lambda: t.tenants.suspend(c)),
            ({a}, lambda: t.billing.account(a, party=BUYER, currency="EUR")),
            ({a}, lambda: t.billing.seats(a, 3)),
            ({c}, lambda: t.billing.prices(c, book)),
            ({b}, lambda: t.billing.credit(b, 5)),
            ({a}, lambda: t.billing.redeem(a, "SPRING")),
            ({c}, lambda: t.billing.issue(c, JANUARY, usage={})),
            ({a, b, c}, lambda: t.billing.configure(seller=SELLER, due_days=7)),
        ]
        for expected, step in steps:
            with t._host.cursor() as cursor:
                before = read_state(cursor, [a, b, c])
            step()
            with t._host.cursor() as cursor:
                found = changed(cursor, list(before.rows.values()), before.marks)
                after = read_state(cursor, [a, b, c])
            assert found == expected
            assert found == {one for one in (a, b, c) if before.rows[one] != after.rows[one]}


@given(
    template=st.sampled_from(["{number}", "A-{year}-{number:04d}", "{year}{month:02d}/{number}"]),
    moments=st.lists(TIMES, min_size=1, max_size=20),
)
def test_numbers_are_unique_over_all_series(template: str, moments: list[datetime]) -> None:
    numbering = Numbering(template)
    counts: dict[str, int] = {}
    numbers = []
    for moment in moments:
        series = numbering.series(moment)
        counts[series] = counts.get(series, 0) + 1
        numbers.append(numbering.number(moment, counts[series]))
    assert len(set(numbers)) == len(moments)


# ------------------------------------------------------------------------------ migration


def test_tenants_from_before_billing_are_billed_by_what_is_known(tmp_path: Path) -> None:
    clock = FakeClock(JANUARY)
    with open_billing(tmp_path, clock) as t:
        for slug in ("acme", "gone"):
            t.tenants.create(slug, slug=slug, anchor=JANUARY)
        trial = t.tenants.create("Trial", slug="trial", status="trial", anchor=JANUARY)
        go_to(clock, JANUARY + 10 * DAY)
        t.tenants.churn("gone")
    Database(open_directory(tmp_path / "data")).migrate("0006")
    with open_billing(tmp_path, clock) as t:  # brings the tables back, without what was in them
        for slug in ("acme", "gone", "trial"):
            t.billing.account(slug, party=BUYER, currency="EUR", since=JANUARY)
        go_to(clock, FEBRUARY)
        assert t.billing.issue("acme", "2026-01", usage={}).bill.net == 10
        gone = t.billing.issue("gone", "2026-01", usage={}).bill
        assert [str(line.amount) for line in gone.lines] == ["3.23"]  # 10 days of 31
        assert t.billing.issue_all().waiting == 1  # late events may still come
        assert [row.tenant for row in t.billing.list(trial)] == []
        assert t.billing.verify()
    with pytest.raises(StoreError, match="2 documents were issued"):
        Database(open_directory(tmp_path / "data")).migrate("0006")
    with open_billing(tmp_path, clock, catalog=None) as t:
        assert t.billing.verify()


def test_a_directory_without_billing_notices_nothing(tmp_path: Path) -> None:
    with open_shop(tmp_path) as t:
        acme = t.tenants.create("Acme", slug="acme")
        t.tenants.change_plan(acme, "pro")
        assert len(t.billing.list()) == 0
        assert t.billing.balance(acme) == ()
        assert t.billing.verify()


# ------------------------------------------------------------------------------ the end


def test_invoices_of_a_purged_tenant_stay(tmp_path: Path) -> None:
    clock = FakeClock(JANUARY)
    with open_billing(tmp_path, clock) as t:
        acme = make_buyer(t)
        go_to(clock, FEBRUARY)
        invoice = t.billing.issue(acme, "2026-01", usage={})
        t.tenants.delete(acme)
        t.tenants.purge(acme)
        assert [row.number for row in t.billing.list(acme.id)] == [invoice.number]
        assert t.billing.invoice(invoice.number).buyer == BUYER
        assert t.billing.pay(invoice.number).open == 0
        assert t.billing.verify()


def test_what_came_together_goes_together(tmp_path: Path) -> None:
    """A tenant that is not made leaves no fact behind."""
    with open_billing(tmp_path) as t:
        make_buyer(t)
        with pytest.raises(AlreadyExists):
            t.tenants.create("Other", slug="acme")
        assert _facts(t) == ["created", "account"]
        t.tenants.update("acme", name="Acme 2", metadata={"a": 1})
        assert _facts(t) == ["created", "account"]
        t.tenants.update("acme", time_zone="Europe/Vienna")
        t.tenants.change_plan("acme", "big", at="period_end")
        t.tenants.suspend("acme")
        assert _facts(t) == ["created", "account", "calendar", "status"]


def _facts(t: Tenancy) -> list[str]:
    query = "SELECT kind FROM billing_timeline WHERE tenant_id <> '' ORDER BY seq"
    with t._host.read() as connection:
        return list(connection.execute(sa.text(query)).scalars())


# ------------------------------------------------------------------- plans with other periods


@pytest.mark.parametrize(
    ("anchor", "changed", "unit", "kept"),
    [
        ("2025-03-15T09:00", "2026-01-20T12:00", "year", "2026-01-15T09:00"),
        ("2025-03-15T09:00", "2026-01-10T12:00", "quarter", "2025-12-15T09:00"),
        ("2025-03-15T09:00", "2026-01-15T09:00", "year", "2026-01-15T09:00"),
        ("2025-01-31T00:00", "2026-03-05T00:00", "year", "2026-02-28T00:00"),
        ("2025-03-15T09:00", "2026-01-20T12:00", "day", "2025-03-15T09:00"),
        ("2025-03-15T09:00", "2026-01-20T12:00", "week", "2025-03-15T09:00"),
    ],
)
def test_the_day_of_the_anchor_stays_where_the_other_periods_have_one(
    tmp_path: Path, anchor: str, changed: str, unit: str, kept: str
) -> None:
    moments = [datetime.fromisoformat(text) for text in (anchor, changed, kept)]
    began, at, expected = (one.replace(tzinfo=timezone.utc) for one in moments)
    catalog = json.loads(json.dumps(CATALOG))
    clock = FakeClock(JANUARY)
    catalog["plans"]["other"] = {"price": 365, "period": unit}
    with open_billing(tmp_path, clock, catalog=catalog) as t:
        acme = t.tenants.create("Acme", slug="acme", anchor=began)
        go_to(clock, at)
        t.tenants.change_plan(acme, "other")
        assert t.tenants.get(acme).anchor == expected


def test_from_months_to_weeks_and_back(tmp_path: Path) -> None:
    """The anchor is Thursday the 1st: weeks begin on Thursdays, and months on the 1st again. What
    is cut off of any is paid by its part."""
    catalog = json.loads(json.dumps(CATALOG))
    clock = FakeClock(JANUARY)
    catalog["plans"]["weekly"] = {"price": 7, "period": "week"}
    catalog["plans"]["flat"] = {"price": 31}
    with open_billing(tmp_path, clock, catalog=catalog) as t:
        t.billing.configure(seller=SELLER)
        acme = make_buyer(t, plan="flat")
        go_to(clock, JANUARY + 12 * DAY)
        t.tenants.change_plan(acme, "weekly")
        go_to(clock, JANUARY + 24 * DAY)
        t.tenants.change_plan(acme, "flat")
        go_to(clock, FEBRUARY + 63 * DAY)
        t.billing.issue_all()
        bills = [t.billing.invoice(row.number).bill for row in t.billing.invoices(acme)]
        assert [(bill.period.start, bill.total) for bill in bills] == [
            (JANUARY, 12),
            (JANUARY + 12 * DAY, 2),
            (JANUARY + 14 * DAY, 7),
            (JANUARY + 21 * DAY, 3),
            (JANUARY + 24 * DAY, 7),
            (FEBRUARY, 31),
            (FEBRUARY + 28 * DAY, 31),
        ]
        assert t.billing.verify()


def test_a_month_changed_at_its_end_is_followed_by_a_whole_year(tmp_path: Path) -> None:
    catalog = json.loads(json.dumps(CATALOG))
    clock = FakeClock(JANUARY)
    catalog["plans"]["yearly"] = {"price": 365, "period": "year"}
    catalog["plans"]["flat"] = {"price": 31}
    with open_billing(tmp_path, clock, catalog=catalog) as t:
        t.billing.configure(seller=SELLER)
        acme = make_buyer(t, plan="flat")
        t.tenants.change_plan(acme, "yearly", at="period_end")
        go_to(clock, datetime(2027, 3, 1, tzinfo=timezone.utc))
        t.process_due()
        assert t.billing.issue_all().issued == 2
        bills = [t.billing.invoice(row.number).bill for row in t.billing.invoices(acme)]
        assert [(bill.period.start, bill.total) for bill in bills] == [
            (JANUARY, 31),
            (FEBRUARY, 365),
        ]
        assert t.billing.verify()
