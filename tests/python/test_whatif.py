"""`tenancy.whatif.reprice`: exact, against one bill at a time; and what is told of changes."""

from __future__ import annotations

import doctest
import importlib
import random
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenancy.errors import InvalidValue
from tenancy.pricing import PerUnit, PriceBook
from tenancy.whatif import Repricing, reprice, reprice_samples
from whatif_model import START, UTC, Event, book, events, frame_of, sums

numpy = pytest.importorskip("numpy")

TIERS = [{"up_to": 1000, "unit": "0.02"}, {"up_to": 5000, "unit": "0.01"}, {"unit": "0.005"}]
TODAY = book("today", base_fee=5, metrics={"calls": {"model": "graduated", "tiers": TIERS}})
VOLUME = book(
    "volume",
    minimum=20,
    seats={"unit": 7, "included": 1},
    metrics={"calls": {"model": "volume", "tiers": TIERS}},
    plans={"team": {"included": {"calls": 500}}},
)
PLANS = {"acme": "team", "globex": "solo"}
SEATS = {"acme": 4, "initech": 1}


def rows_of(result: Repricing) -> dict[tuple[str, datetime], dict[str, Any]]:
    return {(row["tenant"], row["period"]): row for row in result.frame()}


@settings(max_examples=60, deadline=None)
@given(events)
def test_every_amount_is_the_one_that_the_book_gives_alone(rows: list[Event]) -> None:
    result = reprice(frame_of(rows), {"today": TODAY, "new": VOLUME}, plans=PLANS, seats=SEATS)
    expected = sums(rows)
    found = rows_of(result)
    assert found.keys() == expected.keys()
    for (tenant, month), usage in expected.items():
        plan = PLANS.get(tenant)
        new = VOLUME.for_plan("team") if plan == "team" else VOLUME
        row = found[tenant, month]
        assert row["today"] == TODAY.amount(usage)
        assert row["new"] == new.amount(usage, SEATS.get(tenant, 0))
        assert (row["plan"], row["currency"]) == (plan, "USD")
    revenue = {row["book"]: row["revenue"] for row in result.totals()}
    assert revenue["today"] == sum(row["today"] for row in found.values())
    for by in ("plan", "period"):
        parts = result.totals(by)  # type: ignore[arg-type]
        assert sum(row["revenue"] for row in parts if row["book"] == "new") == revenue["new"]
    assert sum(row["tenants"] for row in result.totals("plan") if row["book"] == "new") == len(
        {tenant for tenant, _ in expected}
    )


@settings(max_examples=20, deadline=None)
@given(events, st.randoms(use_true_random=False))
def test_the_order_of_events_changes_nothing(rows: list[Event], source: random.Random) -> None:
    books = {"today": TODAY, "new": VOLUME}
    straight = reprice(frame_of(rows), books)
    source.shuffle(rows)
    assert rows_of(reprice(frame_of(rows), books)) == rows_of(straight)


def test_pandas_polars_and_arrow_frames_give_the_same() -> None:
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    pyarrow = pytest.importorskip("pyarrow")
    columns = frame_of(
        [("acme", START + timedelta(hours=k * 7), "calls", k * k) for k in range(300)]
        + [("globex", START + timedelta(hours=k), "gb", k) for k in range(300)]
    )
    books = {"today": TODAY, "new": VOLUME}
    expected = list(reprice(columns, books).frame())
    assert len(expected) == 4
    arrow = pyarrow.table(columns)
    categories = pandas.DataFrame(columns).astype({"tenant": "category", "metric": "category"})
    for frame in (pandas.DataFrame(columns), categories, polars.DataFrame(columns), arrow):
        assert list(reprice(frame, books).frame()) == expected
    renamed = arrow.rename_columns(["who", "when", "what", "n"])
    named = {"tenant": "who", "time": "when", "metric": "what", "quantity": "n"}
    assert list(reprice(renamed, books, columns=named).frame()) == expected


def test_which_periods_are_billed() -> None:
    rows: list[Event] = [
        ("acme", START, "calls", 10),
        ("acme", START + timedelta(days=65), "calls", 10),
        ("globex", START + timedelta(days=35), "calls", 10),
        ("acme", START + timedelta(days=100), "gb", 0),
    ]
    books = {"today": TODAY}

    def months(customers: Any, **more: Any) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        result = reprice(frame_of(rows[:3]), books, customers=customers, **more)
        for row in result.frame():
            found.setdefault(row["tenant"], []).append(row["period"].month)
            assert row["today"] >= 5  # the fee is due in every period
        return found

    assert months("used") == {"acme": [1, 3], "globex": [2]}
    assert months("span") == {"acme": [1, 2, 3], "globex": [2]}
    assert months("since") == {"acme": [1, 2, 3], "globex": [2, 3]}
    everyone = months("all", plans={"idle": "team"})
    assert everyone == {name: [1, 2, 3] for name in ("acme", "globex", "idle")}
    assert months("used", plans={"idle": "team"}) == {"acme": [1, 3], "globex": [2]}


def test_periods_are_those_of_the_zone() -> None:
    late = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)  # the first of April in Berlin
    usage = frame_of([("acme", late, "calls", 1)])
    result = reprice(usage, {"today": TODAY}, zone="Europe/Berlin")
    assert result.periods == (datetime(2026, 3, 31, 22, tzinfo=UTC),)
    assert reprice(usage, {"today": TODAY}).periods == (datetime(2026, 3, 1, tzinfo=UTC),)
    with pytest.raises(InvalidValue, match="Europe/Berlni"):
        reprice(usage, {"today": TODAY}, zone="Europe/Berlni")
    with pytest.raises(InvalidValue, match="expected minute, hour, day"):
        reprice(usage, {"today": TODAY}, period="fortnight")  # type: ignore[arg-type]


def test_books_by_plan() -> None:
    usage = frame_of([("acme", START, "calls", 100), ("globex", START, "calls", 100)])
    cheap = book("cheap", metrics={"calls": {"unit": "0.001"}})
    by_plan = {"team": cheap, "solo": TODAY}
    found = rows_of(reprice(usage, {"new": by_plan}, plans=PLANS))
    assert {tenant: row["new"] for (tenant, _), row in found.items()} == {
        "acme": cheap.amount({"calls": 100}),
        "globex": TODAY.amount({"calls": 100}),
    }
    with pytest.raises(InvalidValue, match="tenant globex has no plan, and new has books by plan"):
        reprice(usage, {"new": by_plan}, plans={"acme": "team"})
    with pytest.raises(InvalidValue, match=r"new has no book for plan x \(of tenant acme\)"):
        reprice(usage, {"new": by_plan}, plans={"acme": "x", "globex": "solo"})


@settings(max_examples=40, deadline=None)
@given(events, st.integers(-50, 200), st.integers(0, 30))
def test_winners_losers_and_bill_shock(rows: list[Event], percent: int, least: int) -> None:
    result = reprice(frame_of(rows), {"today": TODAY, "new": VOLUME})
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    shocked = []
    for (tenant, month), usage in sums(rows).items():
        old, new = TODAY.amount(usage), VOLUME.amount(usage, 0)
        before[tenant] += old  # type: ignore[assignment]
        after[tenant] += new  # type: ignore[assignment]
        if new > old * (100 + percent) / 100 and new - old > least:
            shocked.append((new - old, tenant, month))
    table = list(result.winners_losers())
    assert [row["change"] for row in table] == sorted(row["change"] for row in table)
    assert len(table) == len(before)
    for row in table:
        tenant = row["tenant"]
        assert (row["today"], row["new"]) == (before[tenant], after[tenant])
        change = after[tenant] - before[tenant]
        assert row["change"] == change
        assert row["outcome"] == (
            "pays more" if change > 0 else "pays less" if change < 0 else "same"
        )
        assert row["percent"] == pytest.approx(float(change) / float(before[tenant]) * 100)
    shock = list(result.bill_shock(percent, least=least))
    assert sorted((row["change"], row["tenant"], row["period"]) for row in shock) == sorted(shocked)
    changes = [row["change"] for row in shock]
    assert changes == sorted(changes, reverse=True)


def test_a_bill_from_nothing_is_a_shock_without_a_percent() -> None:
    free = book("free", metrics={"calls": 0, "gb": 0})
    usage = frame_of([("acme", START, "calls", 100)])
    (row,) = reprice(usage, {"free": free, "new": TODAY}).bill_shock(10_000)
    assert (row["free"], row["percent"]) == (0, None)


def test_an_interval_is_that_of_the_same_draws_by_hand() -> None:
    rows: list[Event] = [(f"t{k}", START, "calls", k * 37 % 4000) for k in range(60)]
    result = reprice(frame_of(rows), {"today": TODAY, "new": VOLUME})
    found = {row["book"]: row for row in result.interval(level=0.9, samples=200, seed=5)}
    bills = [(row["today"], row["new"]) for row in result.by_tenant()]
    drawn = numpy.random.default_rng(5).integers(0, 60, size=(200, 60), dtype="int64").tolist()
    today = sorted(sum(bills[k][0] for k in draw) for draw in drawn)
    change = sorted(sum(bills[k][1] - bills[k][0] for k in draw) for draw in drawn)
    cent = Decimal("0.01")
    assert found["today"]["low"] == pytest.approx(today[10], abs=cent)
    assert found["today"]["high"] == pytest.approx(today[-11], abs=cent)
    assert found["new"]["change_low"] == pytest.approx(change[10], abs=cent)
    assert found["new"]["change_high"] == pytest.approx(change[-11], abs=cent)
    assert found["today"]["change_high"] == 0
    assert found["today"]["low"] < found["today"]["revenue"] < found["today"]["high"]
    assert list(result.interval(seed=1)) == list(result.interval(seed=1))
    assert list(result.interval(seed=1)) != list(result.interval(seed=2))


def test_samples_are_priced_path_by_path() -> None:
    source = numpy.random.default_rng(3)
    tenants = ["acme", "globex", "initech"]
    calls = source.integers(0, 9000, size=(3, 50))
    gb = source.integers(0, 20, size=(3, 50))
    sampled = reprice_samples(
        {"calls": calls, "gb": gb},
        {"today": TODAY, "new": VOLUME},
        tenants=tenants,
        plans=PLANS,
        seats=SEATS,
    )
    expected = []
    for k in range(50):
        total = Decimal(0)
        for row, tenant in enumerate(tenants):
            priced = VOLUME.for_plan("team") if tenant == "acme" else VOLUME
            usage = {"calls": int(calls[row, k]), "gb": int(gb[row, k])}
            total += priced.amount(usage, SEATS.get(tenant, 0))
        expected.append(total)
    assert list(sampled.revenue("new")) == expected
    (row,) = [row for row in sampled.totals(level=0.8) if row["book"] == "new"]
    assert row["median"] == sorted(expected)[24]
    assert row["mean"] == pytest.approx(sum(expected) / 50, abs=Decimal("1e-9"))
    middle = sorted(expected)[30]
    assert sampled.probability("new", middle) == sum(x > middle for x in expected) / 50
    today = list(sampled.revenue("today"))
    more = sum(a < b for a, b in zip(today, expected, strict=True)) / 50
    assert sampled.probability_of_more("today", "new") == more
    plans = [row for row in sampled.totals("plan") if row["book"] == "new"]
    assert [(row["plan"], row["tenants"]) for row in plans] == [
        ("team", 1), ("solo", 1), (None, 1),
    ]  # fmt: skip
    listed = {"calls": calls.tolist(), "gb": [PerUnit(1).amounts(row) for row in gb]}
    again = reprice_samples(listed, {"today": TODAY}, tenants=tenants)
    assert list(again.revenue("today")) == today
    with pytest.raises(InvalidValue, match=r"gb: has 49 samples, but calls has 50"):
        reprice_samples({"calls": calls, "gb": gb[:, 1:]}, {"new": VOLUME}, tenants=tenants)
    with pytest.raises(InvalidValue, match=r"calls: expected a matrix with a row for each"):
        reprice_samples({"calls": calls[:2]}, {"new": VOLUME}, tenants=tenants)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"quantity": [1.5, 2]}, r"quantity: .*float"),
    ({"quantity": [1, None]}, r"quantity.*1"),
    ({"quantity": [1]}, r"quantity: has 1 rows, but the column tenant has 2"),
    ({"quantity": [1, -2]}, r"tenant globex, period from 2026-01-01.*today: calls: .*-2"),
    ({"metric": ["calls", "cals"]}, r'metric: row 1: unknown metric "cals"'),
    ({"time": [1, 2]}, r"time: row 0: expected times, got int"),
    ({"time": [START, START.astimezone(None).replace(tzinfo=None)]}, r"time: row 1: .*time zone"),
    ({"tenant": [None, "a"]}, r"tenant"),
]


@pytest.mark.parametrize(("changed", "message"), WRONG)
def test_wrong_usage_names_column_and_row(changed: dict[str, Any], message: str) -> None:
    usage = frame_of([("acme", START, "calls", 1), ("globex", START, "calls", 2)]) | changed
    with pytest.raises(InvalidValue, match=message):
        reprice(usage, {"today": TODAY})


def test_wrong_scenarios_are_refused() -> None:
    usage = frame_of([("acme", START, "calls", 1), ("globex", START, "calls", 2)])
    euro = PriceBook.from_dict({"price_book": "e", "currency": "EUR", "metrics": {"calls": 1}})
    with pytest.raises(InvalidValue, match="today is in USD and new in EUR"):
        reprice(usage, {"today": TODAY, "new": euro})
    for books in ({}, {"tenant": TODAY}, {"x": 3}, {"x": {}}):
        with pytest.raises(InvalidValue, match="books"):
            reprice(usage, books)  # type: ignore[arg-type]
    for option in ({"fixed": 1}, {"free_events": 2}, {"minimum_per_event": 1}):
        card = book("card", metrics={"calls": {"model": "percentage", "rate": 2} | option})
        with pytest.raises(InvalidValue, match="card: the price of calls depends on single events"):
            reprice(usage, {"card": card})
    share = book("share", metrics={"calls": {"model": "percentage", "rate": 2}})
    assert [row["share"] for row in reprice(usage, {"share": share}).by_tenant()] == [
        Decimal("0.02"), Decimal("0.04"),
    ]  # fmt: skip
    with pytest.raises(InvalidValue, match="no such column"):
        reprice({"tenant": ["a"], "time": [START], "metric": ["calls"]}, {"today": TODAY})
    with pytest.raises(InvalidValue, match="row 1: acme has a plan already"):
        reprice(usage, {"n": TODAY}, plans={"tenant": ["acme"] * 2, "plan": ["team", "solo"]})
    result = reprice(usage, {"today": TODAY, "new": VOLUME, "third": TODAY})
    with pytest.raises(InvalidValue, match="name base and other"):
        result.winners_losers()
    with pytest.raises(InvalidValue, match="there is no 'newer'; there are today, new, third"):
        result.winners_losers("today", "newer")


def test_a_metric_without_a_price_is_an_error_or_free() -> None:
    usage = frame_of([("acme", START, "calls", 1), ("globex", START, "gb", 2)])
    bare = PriceBook.from_dict({"price_book": "b", "currency": "USD", "metrics": {"calls": 1}})
    with pytest.raises(InvalidValue, match=r"tenant globex.*: new has no price for gb"):
        reprice(usage, {"today": TODAY, "new": bare})
    found = rows_of(reprice(usage, {"today": TODAY, "new": bare}, unpriced="free"))
    assert {tenant: row["new"] for (tenant, _), row in found.items()} == {"acme": 1, "globex": 0}
    odd = frame_of([("acme", START, "odd", 1)])
    assert [row["today"] for row in reprice(odd, {"today": TODAY}, unpriced="free").frame()] == [5]


def test_a_time_that_is_none_names_its_row() -> None:
    pandas = pytest.importorskip("pandas")
    times = numpy.array(["2026-01-01", "NaT"], "datetime64[us]")
    usage = {"tenant": [1, 2], "metric": ["calls"] * 2, "quantity": numpy.array([1, 2])}
    for frame in (usage | {"time": times}, pandas.DataFrame(usage | {"time": times})):
        with pytest.raises(InvalidValue, match=r"time: row 1: no value"):
            reprice(frame, {"today": TODAY})


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_every_unit_fall_into_the_same_periods(unit: str) -> None:
    pandas = pytest.importorskip("pandas")
    edges = ["2025-12-31T23:59:59", "2026-01-01T00:00:00", "1969-12-31T23:59:59", "1970-01-01"]
    times = numpy.array(edges, f"datetime64[{unit}]")
    usage = {"tenant": [1] * 4, "metric": ["calls"] * 4, "quantity": [1, 2, 4, 8], "time": times}
    for frame in (usage, pandas.DataFrame(usage)):
        result = reprice(frame, {"today": TODAY})
        found = dict(zip(result.frame()["period"], result.quantities("calls"), strict=True))
        assert {(at.year, at.month): int(q) for at, q in found.items()} == {
            (1969, 12): 4, (1970, 1): 8, (2025, 12): 1, (2026, 1): 2,
        }  # fmt: skip


def test_categories_of_pandas_are_read_by_their_codes() -> None:
    pandas = pytest.importorskip("pandas")
    rows: list[Event] = [("globex", START, "gb", 3), ("acme", START, "calls", 700)]
    frame = pandas.DataFrame(frame_of(rows))
    expected = list(reprice(frame, {"today": TODAY}).frame())
    frame["tenant"] = pandas.Categorical(frame["tenant"], ["idle", "globex", "acme"])
    for metrics in (["gb", "calls"], ["never", "calls", "gb"]):
        frame["metric"] = pandas.Categorical([event[2] for event in rows], metrics)
        found = list(reprice(frame, {"today": TODAY}).frame())
        assert sorted(found, key=lambda row: row["tenant"]) == expected
    frame["metric"] = pandas.Categorical(["gb", "cals"])
    with pytest.raises(InvalidValue, match='metric: row 1: unknown metric "cals"'):
        reprice(frame, {"today": TODAY})
    frame["metric"] = pandas.Categorical(["gb", None])
    with pytest.raises(InvalidValue, match="metric: row 1: no value"):
        reprice(frame, {"today": TODAY})


def test_objects_of_pandas_are_read_where_they_lie() -> None:
    pandas = pytest.importorskip("pandas")
    rows: list[Event] = [
        (f"tenant {i % 7}", START, ("calls", "gb")[i % 2], i) for i in range(400)
    ]  # fmt: skip
    expected = list(reprice(frame_of(rows), {"today": TODAY}).frame())
    frame = pandas.DataFrame(frame_of(rows))
    for column in ("tenant", "metric"):
        frame[column] = frame[column].astype(object)
    assert list(reprice(frame, {"today": TODAY}).frame()) == expected
    assert list(reprice(frame[::-1], {"today": TODAY}).frame()) == expected
    frame.loc[5, "tenant"] = None
    with pytest.raises(InvalidValue, match="tenant: row 5: no value"):
        reprice(frame, {"today": TODAY})
    # Whole numbers as objects are whole numbers.
    frame["tenant"] = pandas.Series([event[3] % 7 for event in rows], dtype=object)
    assert sorted(reprice(frame, {"today": TODAY}).tenants) == list(range(7))


def test_periods_of_few_events_among_many_are_found() -> None:
    count = 20_000
    times = numpy.full(count, numpy.datetime64("2025-06-10T12:00", "us"))
    usage = {
        "tenant": numpy.arange(count) % 3,
        "time": times,
        "metric": numpy.full(count, "calls"),
        "quantity": numpy.ones(count, "int64"),
    }
    assert len(reprice(usage, {"today": TODAY}, customers="all").periods) == 1
    times[7] = numpy.datetime64("2025-03-01", "us")
    times[-6] = numpy.datetime64("2025-08-31T23:59", "us")
    result = reprice(usage, {"today": TODAY}, customers="all")
    assert [period.month for period in result.periods] == [3, 4, 5, 6, 7, 8]
    assert len(result) == 3 * 6
    used = zip(result.frame(), result.quantities("calls").tolist(), strict=True)
    found = {(row["tenant"], row["period"].month): used for row, used in used if used}
    assert found == {(1, 3): 1, (0, 6): 6667, (1, 6): 6666, (2, 6): 6665, (2, 8): 1}
    times[13] = numpy.datetime64("NaT")
    with pytest.raises(InvalidValue, match="time: row 13: no value"):
        reprice(usage, {"today": TODAY})


def test_the_examples_of_the_docstrings_run() -> None:
    for name in ("whatif", "whatif._break_even", "budgets"):
        found = doctest.testmod(importlib.import_module(f"tenancy.{name}"))
        assert found.attempted > 0
        assert found.failed == 0


def test_a_forecast_under_two_books_is_its_own_cost_under_each() -> None:
    from tenancy.forecast import forecast

    days = [START + timedelta(days=day) for day in range(90)]
    tenants = [f"t{k}" for k in range(12)]
    source = random.Random(4)
    rows: list[Event] = [
        (who, day, "calls", 60 + 9 * day.weekday() + source.randrange(40))
        for who in tenants
        for day in days
    ]
    coming = forecast(frame_of(rows), horizon=30)
    books = {"today": TODAY, "new": VOLUME}
    drawn = {"calls": [coming.draws(who, "calls") for who in tenants]}
    sampled = reprice_samples(drawn, books, tenants=tenants)
    assert sampled.samples > 100
    for name, priced in books.items():
        cost = coming.cost(priced)
        draws = zip(*(list(cost.draws(who)) for who in tenants), strict=True)
        assert list(sampled.revenue(name)) == [sum(draw) for draw in draws]
