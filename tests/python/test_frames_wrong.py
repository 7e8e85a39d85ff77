"""Wrong usage in every kind of frame: the error names the column, the row, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import duckdb
import numpy
import pandas
import polars
import pyarrow
import pytest

from tenancy.errors import InvalidValue
from tenancy.forecast import backtest, forecast
from tenancy.pricing import PerUnit, PriceBook, rate
from tenancy.whatif import replay_limits, replay_quotas, reprice

DAYS = 60
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
Columns = dict[str, list[Any]]
GOOD: Columns = {
    "tenant": [name for name in "abcdef" for _ in range(DAYS)],
    "metric": ["calls"] * 6 * DAYS,
    "time": [START + timedelta(days=day) for _ in range(6) for day in range(DAYS)],
    "quantity": [10 + day % 7 for _ in range(6) for day in range(DAYS)],
}
BOOK = PriceBook.from_dict({"price_book": "b", "currency": "USD", "metrics": {"calls": "0.01"}})


def relation(columns: Columns) -> Any:
    return duckdb.from_arrow(pyarrow.table(columns))


def each(make: Callable[[Any], Any]) -> Callable[[Columns], dict[str, Any]]:
    return lambda columns: {name: make(values) for name, values in columns.items()}


FRAMES: dict[str, Callable[[Columns], Any]] = {
    "pandas": pandas.DataFrame,
    "polars": lambda columns: polars.DataFrame(columns, strict=False),
    "lazy polars": lambda columns: polars.DataFrame(columns, strict=False).lazy(),
    "pyarrow": pyarrow.table,
    "DuckDB": relation,
    "lists": dict,
    "columns of pandas": each(pandas.Series),
    "columns of polars": each(lambda values: polars.Series(values, strict=False)),
    "columns of pyarrow": each(pyarrow.array),
    "chunked columns of pyarrow": each(
        lambda values: pyarrow.chunked_array([values[:9], values[9:]])
    ),
    "columns of objects": each(lambda values: numpy.array(values, object)),
}
READERS: dict[str, Callable[[Any], Any]] = {
    "forecast": lambda usage: forecast(usage, horizon=10, levels=[0.5]).frame(),
    "backtest": lambda usage: backtest(usage, horizon=10, levels=[0.5], origins=2).scores(),
    "reprice": lambda usage: reprice(usage, {"b": BOOK}).totals(),
    "replay_limits": lambda usage: replay_limits(
        usage, {"a": "9/day"}, columns={"cost": "quantity"}
    ),
    "replay_quotas": lambda usage: replay_quotas(usage, {"a": 100}, columns={"cost": "quantity"}),
}
FORECASTS = ("forecast", "backtest")


def but(name: str, value: Any, row: int = 7) -> Columns:
    return {**GOOD, name: [*GOOD[name][:row], value, *GOOD[name][row + 1 :]]}


def floats(value: float) -> Columns:
    return {**GOOD, "quantity": [float(one) for one in but("quantity", value)["quantity"]]}


def rows(columns: Columns, chosen: list[int]) -> Columns:
    return {name: [values[row] for row in chosen] for name, values in columns.items()}


NO_VALUE = "row 7: no value: leave the row out, or fill it"
NO_NUMBER = "row 7: (no value: leave the row out, or fill it|nan.*: (fill it or leave|round first))"
EVERYONE = tuple(READERS)
PRICED = ("reprice", "replay_limits", "replay_quotas")
BELOW = but("quantity", -5000)
WRONG: dict[str, tuple[Columns, str, tuple[str, ...]]] = {
    "no tenant": (but("tenant", None), f"^tenant: {NO_VALUE}", EVERYONE),
    "no metric": (but("metric", None), f"^metric: {NO_VALUE}", (*FORECASTS, "reprice")),
    "no time": (but("time", None), f"^time: {NO_VALUE}", EVERYONE),
    "no quantity": (but("quantity", None), f"^quantity: {NO_NUMBER}", EVERYONE),
    "NaN": (
        floats(float("nan")), f"^quantity: {NO_NUMBER}", EVERYONE,
    ),
    "infinite": (floats(float("inf")), "^quantity: row 7: inf.*: (fill it|round first)", EVERYONE),
    "a fraction": (
        floats(1.5), "^quantity: row 7: 1.5.*: (digits=… rounds|round first)", EVERYONE,
    ),
    "negative": (
        BELOW, "^quantity: row 7: negative usage: apply corrections to their events", FORECASTS,
    ),
    "a negative sum": (
        BELOW,
        "^quantity: row 7: tenant a, period from 2026-01-01T00:00:00.00:00: b: calls: expected a"
        ' number from 0, got -46.*; the rule negative="credit" prices it',
        ("reprice",),
    ),
    "a negative cost": (
        BELOW, "^quantity: row 7: expected a whole number above 0, got -5000",
        ("replay_limits", "replay_quotas"),
    ),
    "a negative decimal": (
        {**GOOD, "quantity": [Decimal(one) for one in but("quantity", -5)["quantity"]]},
        "^quantity: row 7: negative usage: apply corrections", FORECASTS,
    ),
    "a gap": (
        rows(GOOD, [row for row in range(6 * DAYS) if row != 7]),
        "^time: after row 6: tenant 'a' has no row of calls for the step of 2026-01-08.*: gaps=",
        FORECASTS,
    ),
    "a duplicate": (
        rows(GOOD, [*range(6 * DAYS), 7]),
        f"^time: row {6 * DAYS}: the same tenant, metric and step as row 7: duplicates=",
        FORECASTS,
    ),
    "times without a zone": (
        {**GOOD, "time": [one.replace(tzinfo=None) for one in GOOD["time"]]},
        "^time: row 0: the times have no time zone: naive=", FORECASTS,
    ),
    "one day": (
        rows(GOOD, [place * DAYS for place in range(6)]),
        "^time: row 0: the history begins here and has 1 step; 10 steps ahead cannot be tested on"
        " it: give at least 16 steps, or a shorter horizon",
        ("forecast",),
    ),
    "one day to test on": (
        rows(GOOD, [place * DAYS for place in reversed(range(6))]),
        "^time: row 0: the history begins here and has 1 step; 30 before and 10 after an origin are"
        " needed: a shorter horizon or history",
        ("backtest",),
    ),
    "another metric": (
        but("metric", "cals"), '^metric: row 7: unknown metric "cals"; prices are given for calls',
        ("reprice",),
    ),
    "texts for times": (
        {**GOOD, "time": [one.isoformat() for one in GOOD["time"]]},
        "^time: (row 0: )?expected times, got (a column of )?text: ", EVERYONE,
    ),
    "numbers for times": (
        {**GOOD, "time": list(range(6 * DAYS))},
        "^time: (row 0: )?expected times, got (a column of )?int: ", EVERYONE,
    ),
    "no column": (
        {name: GOOD[name] for name in ("metric", "time", "quantity")},
        "^tenant: there is no such column; there are metric, time, quantity: name it in columns=",
        EVERYONE,
    ),
    "no rows": ({name: [] for name in GOOD}, "^tenant: the frame has no rows: give", FORECASTS),
}  # fmt: skip


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("reader", READERS)
def test_every_kind_of_frame_is_read_and_says_the_same(kind: str, reader: str) -> None:
    assert str([*READERS[reader](FRAMES[kind](GOOD))]) == str([*READERS[reader](GOOD)])  # NaN too


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_told_with_column_row_and_remedy(kind: str, wrong: str) -> None:
    columns, message, readers = WRONG[wrong]
    for reader in readers:
        with pytest.raises(InvalidValue, match=message):
            READERS[reader](FRAMES[kind](columns))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pandas", "lists", "columns of pandas", "columns of objects"])
@pytest.mark.parametrize(
    ("other", "zone"), [(None, "none"), (timezone(timedelta(hours=2)), "UTC.02:00")]
)
def test_times_of_several_zones_are_refused_where_a_column_can_have_them(
    reader: str, kind: str, other: Any, zone: str
) -> None:
    """Those of polars, pyarrow and DuckDB have one zone for the whole column."""
    mixed = but("time", GOOD["time"][7].astimezone(timezone.utc).replace(tzinfo=other))
    with pytest.raises(
        InvalidValue,
        match=f"^time: row 7: the time zone is {zone}, of the rows before UTC: convert all of them",
    ):
        READERS[reader](FRAMES[kind](mixed))


def test_amounts_of_several_currencies_have_no_sum() -> None:
    euros = PriceBook.from_dict(
        {"price_book": "e", "currency": "EUR", "metrics": {"calls": "0.01"}}
    )
    with pytest.raises(InvalidValue, match=r"books: b is in USD and e in EUR: .*: reprice each by"):
        reprice(GOOD, {"b": BOOK, "e": euros})
    prices = {"x": PerUnit("1", currency="USD"), "y": PerUnit("2", currency="EUR")}
    rated = rate(["a", "a"], [3, 4], ["x", "y"], prices=prices)
    assert list(rated["currency"]) == ["USD", "EUR"]
    with pytest.raises(InvalidValue, match="prices: amounts in EUR and USD have no sum: sum the"):
        assert rated.total


def test_a_sum_below_zero_names_a_row_of_its_own() -> None:
    """Others took something back as well, and stay above."""
    columns = but("quantity", -1, row=2)
    columns = {**columns, "quantity": [*columns["quantity"]]}
    columns["quantity"][DAYS + 40] = -5000  # b, in February
    columns["quantity"][DAYS + 45] = Decimal("-0.5")
    with pytest.raises(InvalidValue, match=rf"quantity: row {DAYS + 40}: tenant b, .* 2026-02-01"):
        reprice(columns, {"b": BOOK})
    coded = pandas.DataFrame(columns).astype({"tenant": "category", "metric": "category"})
    with pytest.raises(InvalidValue, match=rf"quantity: row {DAYS + 40}: tenant b, .* 2026-02-01"):
        reprice(coded, {"b": BOOK})


def test_no_usage_costs_nothing_whatever_the_types_of_its_columns() -> None:
    nothing: Columns = {name: [] for name in GOOD}
    for make in FRAMES.values():
        assert len(reprice(make(nothing), {"b": BOOK})) == 0
        assert len(replay_limits(make(nothing), {"a": "9/day"})) == 0
    assert len(reprice(GOOD, {"b": BOOK}, plans=pandas.DataFrame({"tenant": [], "plan": []}))) == 18
